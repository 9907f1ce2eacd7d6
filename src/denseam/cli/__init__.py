"""The command line: parse, call, print. One file per command, whose docstring is its help."""

import argparse
import difflib
import os
import re
import sys
from collections.abc import Sequence
from typing import NoReturn

from denseam.checks import whole
from denseam.cli import (
    attack,
    audit,
    bench,
    boundary,
    data,
    evaluate,
    explain,
    export,
    guard,
    reproduce,
    rubbish,
    train,
    transfer,
)
from denseam.cli.common import declare, say_error
from denseam.errors import DenseAMError
from denseam.mesh import own_device
from denseam.training.recipe import MOST_SEED
from denseam.version import __version__

__all__ = ["main"]

_COMMANDS = (
    reproduce,
    train,
    evaluate,
    explain,
    rubbish,
    boundary,
    attack,
    audit,
    transfer,
    guard,
    data,
    export,
    bench,
)
_DESCRIPTION = """\
Dense associative memories: energy-based classifiers that remember. Small powers n learn features,
large ones learn prototypes, and attacks made on small n do not fool large n.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code: 0, 2 for bad input, 130 when stopped by Ctrl-C."""
    args = parser().parse_args(argv)
    args.device = own_device(args.device)
    try:
        args.seed = whole("seed", args.seed, 0, MOST_SEED)
        code: int = args.run(args)
        sys.stdout.flush()
    except DenseAMError as error:
        say_error(args.command, error)
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader, `head` say, has seen enough
        # Python flushes once more at exit, and would complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    return code


class _Parser(argparse.ArgumentParser):
    """One line for bad input, like every other error."""

    def error(self, message: str) -> NoReturn:
        wrong = re.search(r"invalid choice: '(.*?)' \(choose from (.*)\)", message)
        near = difflib.get_close_matches(wrong[1], re.findall(r"[\w-]+", wrong[2])) if wrong else []
        hint = f"; did you mean {near[0]}?" if near else ""
        self.exit(2, f"{self.prog}: {message}{hint}; see {self.prog} --help\n")


def parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    top = _Parser(
        prog="denseam",
        description=_DESCRIPTION,
        epilog="denseam COMMAND --help shows options and examples.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("-V", "--version", action="version", version=f"denseam {__version__}")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in _COMMANDS:
        declare(commands, command)
    return top
