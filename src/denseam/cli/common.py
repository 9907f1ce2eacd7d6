"""What all commands share: options, devices, ways to print."""

import argparse
import json
import sys
from typing import Any

from rich.console import Console

__all__ = ["add_command", "percent", "print_json", "stderr", "stdout"]

stdout = Console(highlight=False, soft_wrap=True)
stderr = Console(stderr=True, highlight=False)


def add_command(
    commands: Any, name: str, summary: str, description: str, examples: str
) -> argparse.ArgumentParser:
    """A subcommand with the options that every command has."""
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=summary,
        description=f"{summary[0].upper()}{summary[1:]}.\n\n{description}",
        epilog="examples:\n" + "".join(f"  {line}\n" for line in examples.strip().splitlines()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    shared = parser.add_argument_group("everywhere")
    shared.add_argument("--json", action="store_true", help="print one JSON value, for machines")
    shared.add_argument("--seed", type=int, default=0, help="of everything random (default: 0)")
    shared.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1, ... (default: cpu)")
    return parser


def print_json(value: Any) -> None:
    """One JSON value on the standard output."""
    sys.stdout.write(json.dumps(value, indent=2, allow_nan=False) + "\n")


def percent(fraction: float) -> str:
    """A fraction as the paper writes it."""
    return f"{100 * fraction:.2f} %"
