"""denseam completion: print a script by which a shell completes commands, options and names.

Commands, options and their choices are completed, models and data sets by name, and files.
The script is made from the options of this version: print it again after an update.

Examples:
    denseam completion bash > ~/.local/share/bash-completion/completions/denseam
    denseam completion zsh > ~/.zfunc/_denseam
    denseam completion fish > ~/.config/fish/completions/denseam.fish
"""

import argparse
import importlib
from collections.abc import Iterator
from pathlib import Path

from denseam.cli.common import print_json, stdout
from denseam.data.registry import KNOWN
from denseam.errors import MissingPackageError
from denseam.pretrained import (
    baseline_names,
    certified_names,
    convolutional_names,
    pretrained_names,
)

_MODELS, _SETS = (
    ("MODEL", "CLASSIFIER"),
    ("SET", "PATH", "GUARD"),
)  # what an argument's metavar says
_SCRIPTS = {
    "bash": '{name}() {{ compgen -W "{words}" -- "$1"; compgen -f -- "$1"; }}\n',
    "zsh": "{name}() {{ _alternative 'names:name:({words})' 'files:file:_files' }}\n",
    "fish": "",
}


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    parser.add_argument("shell", choices=_SCRIPTS, help="which shell the script is for")


def run(args: argparse.Namespace) -> int:
    """Print the script."""
    try:
        import shtab  # noqa: PLC0415 (an extra)
    except ImportError as error:
        raise MissingPackageError(
            "completion needs shtab: pip install 'denseam[completion]'"
        ) from error
    names = {
        "_denseam_models": " ".join(
            (*pretrained_names(), *baseline_names(), *certified_names(), *convolutional_names())
        ),
        "_denseam_sets": " ".join(KNOWN),
    }
    top: argparse.ArgumentParser = importlib.import_module("denseam.cli").parser()
    for action in _actions(top):
        function = _function_for(action)
        if function is not None:
            action.complete = {  # type: ignore[attr-defined]
                "bash": function, "zsh": function,
                "fish": f"{names[function]} (__fish_complete_path)",
            }  # fmt: skip
        elif action.type is Path:
            action.complete = shtab.FILE  # type: ignore[attr-defined]
    preamble = "".join(
        _SCRIPTS[args.shell].format(name=name, words=words) for name, words in names.items()
    )
    script = shtab.complete(top, args.shell, preamble=preamble)
    if args.json:
        print_json({"shell": args.shell, "script": script})
    else:
        stdout.print(script)
    return 0


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """Yield the options and arguments of a parser and of all below it."""
    for action in parser._actions:  # noqa: SLF001 (argparse has no other way)
        yield action
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            for below in action.choices.values():
                yield from _actions(below)
        elif action.choices is not None:
            action.choices = tuple(action.choices)  # a table looks like commands to shtab


def _function_for(action: argparse.Action) -> str | None:
    """Return the function that completes a model or a set; None for other arguments."""
    if action.metavar in _MODELS:
        return "_denseam_models"
    return "_denseam_sets" if action.metavar in _SETS or action.dest == "dataset" else None
