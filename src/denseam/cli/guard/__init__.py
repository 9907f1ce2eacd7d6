"""`denseam guard`: one command, its own commands below it."""

import argparse
from typing import Any

from denseam.cli.common import declare
from denseam.cli.guard import calibrate, check, evaluate, review, serve

__all__ = ["add_to"]

_COMMANDS = (calibrate, check, evaluate, serve, review)
_DESCRIPTION = """\
Set junk and attacks aside before a classifier sees them.

A large-n dense associative memory looks at every image first: what it is not confident about is
junk, the rest goes on to the classifier. The threshold is taken from clean images alone.
"""


def add_to(commands: Any) -> None:
    """Declare the command and those below it."""
    parser = commands.add_parser(
        "guard",
        help="set junk aside before a classifier: calibrate, check, evaluate, serve, review",
        description=_DESCRIPTION,
        epilog="denseam guard COMMAND --help shows options and examples.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    below = parser.add_subparsers(dest="subcommand", required=True, metavar="COMMAND")
    for command in _COMMANDS:
        declare(below, command)
