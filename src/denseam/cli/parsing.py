"""The parser of the command line, made without importing the commands that nobody named.

PyTorch takes more than a second to import, and most commands need it. So a command is declared in
full, and its module imported, when it is named; of the others the help shows the first line, which
is read from their files. Nothing here imports PyTorch.
"""

import argparse
import importlib
import importlib.util
import inspect
import os
import re
import sys
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn, TextIO

from denseam.spelling import nearest, suggestion

__all__ = ["Parser", "add_command", "add_group", "declare"]

_MOST_CHOICES = 24  # characters
_BOLD, _CYAN, _PLAIN = "\x1b[1m", "\x1b[36m", "\x1b[0m"


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """Help that fits the terminal; indented lines, such as examples, stay as they are."""

    def add_usage(
        self, usage: Any, actions: Iterable[argparse.Action], groups: Any, prefix: Any = None
    ) -> None:
        """Name what has to be there; all options stand below, with their help."""
        needed = [each for each in actions if each.required or not each.option_strings]
        self._prog += " [options]"
        super().add_usage(usage, needed, (), prefix)

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        paragraphs = text.split("\n\n")
        return "\n\n".join(
            each if re.search(r"^ ", each, re.MULTILINE) else textwrap.fill(each, width)
            for each in paragraphs
        )

    def _metavar_formatter(self, action: argparse.Action, default_metavar: str) -> Any:
        if _has_many_choices(action):
            return lambda size: (default_metavar,) * size
        return super()._metavar_formatter(action, default_metavar)

    def _expand_help(self, action: argparse.Action) -> str:
        text = super()._expand_help(action)
        return f"{text}: {', '.join(action.choices or ())}" if _has_many_choices(action) else text


def _has_many_choices(action: argparse.Action) -> bool:
    """Return whether the choices of an option would fill a line, {like,this}."""
    names = "" if action.metavar or action.choices is None else ",".join(action.choices)
    return len(names) * (2 if action.nargs == "+" else 1) > _MOST_CHOICES


class Parser(argparse.ArgumentParser):
    """A parser with help in colour, and one line for bad input, like every other error."""

    def __init__(self, **options: Any) -> None:
        super().__init__(formatter_class=_Formatter, **options)
        self.color = False  # Python 3.14 has colours of its own

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse; report an unknown option before anything that it may have caused."""
        words = sys.argv[1:] if args is None else list(args)
        if self._subparsers is None:
            self._check_options(words)
        return super().parse_known_args(words, namespace)

    def _check_options(self, words: Sequence[str]) -> None:
        known = [option for option in self._option_string_actions if option.startswith("--")]
        for word in words:
            if word == "--":
                return
            name = word.partition("=")[0]
            if name.startswith("--") and not any(each.startswith(name) for each in known):
                self.error(f"unrecognized arguments: {name}{suggestion(name, known)}")

    def print_help(self, file: Any = None) -> None:
        """Print the help, in colour where that is welcome."""
        stream = sys.stdout if file is None else file
        text = self.format_help()
        stream.write(_coloured(text) if _takes_colour(stream) else text)

    def error(self, message: str) -> NoReturn:
        """Say what is wrong in one line, and leave with exit code 2."""
        wrong = re.search(r"argument (.*): invalid choice: '(.*?)' \(choose from (.*)\)", message)
        if wrong:
            near = nearest(wrong[2], re.findall(r"[\w-]+", wrong[3]))
            if near:  # the list would only hide it
                message = f"argument {wrong[1]}: invalid choice: '{wrong[2]}'; did you mean {near}?"
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help\n")


def declare(
    commands: Any, package: str, names: Iterable[str], words: Sequence[str] | None = None
) -> None:
    """Declare the commands of a package, each from the module of its name.

    A module's docstring is the help: "denseam NAME: SUMMARY.", a description, "Examples:". Its
    ``add_options(parser)`` adds what is not the same for all commands, and ``run`` does the work.
    A module with commands below its own has ``add_to(parser, words)`` instead.

    Args:
        commands: what ``add_group`` returned.
        package: the modules' package.
        names: of the commands, in the order of the help.
        words: the command line from here on: only the command that it names is declared in full.
            None declares all of them.
    """
    first, rest = (None, None) if words is None else _command_in(words)
    for name in names:
        module = f"{package}.{name}"
        if words is not None and name != first:
            commands.add_parser(name, help=_summary(module))
            continue
        command = importlib.import_module(module)
        _, _, text = inspect.cleandoc(command.__doc__ or "").partition("\n")  # none under -OO
        description, _, examples = text.strip().partition("\n\nExamples:\n")
        if hasattr(command, "add_to"):
            below = commands.add_parser(name, help=_summary(module), description=description)
            command.add_to(below, rest)
            continue
        parser = add_command(
            commands, name, _summary(module), description, inspect.cleandoc(examples)
        )
        command.add_options(parser)
        parser.set_defaults(run=command.run)


def add_command(
    commands: Any, name: str, summary: str, description: str, examples: str
) -> argparse.ArgumentParser:
    """Declare a command with the options that every command has."""
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=summary,
        description=f"{summary[:1].upper()}{summary[1:]}.\n\n{description}",
        epilog="examples:\n" + "".join(f"  {line}\n" for line in examples.strip().splitlines()),
    )
    shared = parser.add_argument_group("everywhere")
    shared.add_argument("--json", action="store_true", help="print one JSON value, for machines")
    shared.add_argument(
        "--seed", type=int, default=0, help="of everything random (default: %(default)s)"
    )
    shared.add_argument(
        "--device", default="cpu", help="cpu, cuda, cuda:1, ... (default: %(default)s)"
    )
    return parser


def add_group(parser: argparse.ArgumentParser, dest: str, metavar: str = "COMMAND") -> Any:
    """Let a parser have commands below it; without one of them it shows its help."""
    parser.epilog = f"{parser.prog} {metavar} --help shows options and examples."

    def show_help(_: argparse.Namespace) -> int:
        parser.print_help()
        return 0

    parser.set_defaults(run=show_help)
    title = f"{metavar.lower()}s"
    return parser.add_subparsers(title=title, dest=dest, metavar=metavar, prog=parser.prog)


def _command_in(words: Sequence[str]) -> tuple[str | None, Sequence[str]]:
    """Return the command that the words name, and what follows it."""
    for i, word in enumerate(words):
        if not word.startswith("-"):
            return word, words[i + 1 :]
    return None, ()


def _summary(module: str) -> str:
    """Return what the first line of a module says after "denseam NAME: ", without importing it."""
    spec = importlib.util.find_spec(module)
    source = getattr(spec and spec.loader, "get_source", lambda _: "")(module)
    line = (source or "").partition("\n")[0]
    return line.partition(": ")[2].rstrip('."')


def _takes_colour(stream: TextIO) -> bool:
    """Return whether to write colours to a stream, by the usual conventions."""
    if os.environ.get("NO_COLOR"):
        return False
    return bool(os.environ.get("FORCE_COLOR")) or (
        stream.isatty() and os.environ.get("TERM") != "dumb"
    )


def _coloured(text: str) -> str:
    """Return help with headings, commands and options in colour; nothing moves."""

    def option(line: re.Match[str]) -> str:
        return re.sub(r"-{1,2}[A-Za-z][\w-]*", rf"{_CYAN}\g<0>{_PLAIN}", line[0])

    text = re.sub(r"^(\S.*:|usage:)(?=$| )", rf"{_BOLD}\1{_PLAIN}", text, flags=re.MULTILINE)
    text = re.sub(r"^ {2}-.*?(?=  |$)", option, text, flags=re.MULTILINE)
    return re.sub(r"^( {4})(\w[\w-]*)(?=  |$)", rf"\1{_CYAN}\2{_PLAIN}", text, flags=re.MULTILINE)
