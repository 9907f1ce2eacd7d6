"""The command line: parse, call, print. One file per command."""

import argparse
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from denseam.cli import (
    attack,
    audit,
    bench,
    boundary,
    datasets,
    evaluate,
    explain,
    export,
    guard,
    reproduce,
    rubbish,
    train,
    transfer,
)
from denseam.cli.common import check_seed, say_error
from denseam.errors import DenseAMError
from denseam.mesh import own_device
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
    datasets,
    export,
    bench,
)
_DESCRIPTION = """\
Dense associative memories: energy-based classifiers that remember. Small powers n learn features,
large ones learn prototypes, and attacks made on small n do not fool large n.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code: 0, 2 for bad input, 130 when stopped by Ctrl-C."""
    args = parser().parse_args(argv)
    args.device = own_device(args.device)
    try:
        check_seed(args.seed)
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
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help\n")


def parser() -> argparse.ArgumentParser:
    """The whole command line."""
    top = _Parser(
        prog="denseam",
        description=_DESCRIPTION,
        epilog="denseam COMMAND --help shows options and examples.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("-V", "--version", action="version", version=f"denseam {__version__}")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in _COMMANDS:
        command.add_to(commands)
    return top
