"""denseam guard: set junk aside before a classifier: calibrate, check, evaluate, serve, review.

Set junk and attacks aside before a classifier sees them.

A large-n dense associative memory looks at every image first: what it is not confident about is
junk, the rest goes on to the classifier. The threshold is taken from clean images alone.
"""

import argparse
from collections.abc import Sequence

from denseam.cli.parsing import add_group, declare

__all__ = ["COMMANDS", "add_to"]

COMMANDS = ("calibrate", "check", "evaluate", "serve", "review")


def add_to(parser: argparse.ArgumentParser, words: Sequence[str] | None) -> None:
    """Declare the commands below this one."""
    declare(add_group(parser, "subcommand"), __name__, COMMANDS, words)
