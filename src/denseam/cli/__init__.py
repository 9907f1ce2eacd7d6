"""The command line: parse, call, print. One file per command, whose docstring is its help."""

import argparse
import codecs
import os
import sys
from collections.abc import Sequence

from denseam.cli.parsing import Parser, add_group, declare
from denseam.errors import DenseAMError
from denseam.version import __version__

__all__ = ["COMMANDS", "main", "parser"]

COMMANDS = (
    "reproduce",
    "train",
    "evaluate",
    "predict",
    "explain",
    "explore",
    "retrieve",
    "capacity",
    "rubbish",
    "boundary",
    "attack",
    "audit",
    "certify",
    "transfer",
    "guard",
    "data",
    "export",
    "bench",
    "completion",
)
_DESCRIPTION = """\
Dense associative memories: energy-based classifiers that remember. Small powers n learn features,
large ones learn prototypes, and attacks made on small n do not fool large n.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code: 0, 2 for bad input, 130 when stopped by Ctrl-C."""
    words = sys.argv[1:] if argv is None else list(argv)
    _write_any_name()
    try:
        return _run(words)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader, `head` say, has seen enough
        # Python flushes once more at exit, and would complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


def parser(words: Sequence[str] | None = None) -> Parser:
    """Return the parser of the command line.

    Args:
        words: a command line: only the command that it names is imported and declared in full. None
            declares all commands.
    """
    top = Parser(prog="denseam", description=_DESCRIPTION)
    top.add_argument("-V", "--version", action="version", version=f"denseam {__version__}")
    declare(add_group(top, "command"), __name__, COMMANDS, words)
    return top


def _run(words: Sequence[str]) -> int:
    try:
        args = parser(words).parse_args(words)
        code: int = _prepared(args).run(args)
    except SystemExit:  # argparse, after --help
        sys.stdout.flush()
        raise
    except DenseAMError as error:
        from denseam.cli.common import say_error  # noqa: PLC0415 (imports PyTorch)

        say_error(args.command, error)
        return 2
    sys.stdout.flush()
    return code


def _write_any_name() -> None:
    """Let standard output and error take every character, whatever their encoding.

    Bytes of a file's name that are no text come out as they are; characters that the encoding does
    not have as escapes.
    """
    codecs.register_error("denseam", _any_name)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="denseam")


def _any_name(error: UnicodeError) -> tuple[str | bytes, int]:
    try:
        return codecs.lookup_error("surrogateescape")(error)
    except UnicodeError:
        return codecs.lookup_error("backslashreplace")(error)


def _prepared(args: argparse.Namespace) -> argparse.Namespace:
    """Check the options that every command has, where a command was named."""
    if "device" in args:
        from denseam.checks import whole  # noqa: PLC0415 (imports PyTorch)
        from denseam.mesh import own_device  # noqa: PLC0415 (imports PyTorch)
        from denseam.training.recipe import MOST_SEED  # noqa: PLC0415 (imports PyTorch)

        args.device = own_device(args.device)
        args.seed = whole("seed", args.seed, 0, MOST_SEED)
    return args
