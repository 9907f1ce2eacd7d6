"""Parts of `denseam rubbish`, `boundary` and `attack`: options, making the set, the report."""

import argparse
import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from denseam.cli.common import (
    check_file,
    command_line,
    job,
    percent,
    print_json,
    say_next,
    stderr,
    stdout,
)
from denseam.cli.progress import images_bar
from denseam.data import ImageSet
from denseam.figures.canvas import need_matplotlib
from denseam.figures.grid import save_grid

__all__ = ["add_output", "check_picture", "making", "report"]

_SHOWN = 100  # images of a contact sheet
_DIGIT = 28 * 28  # pixels that the models of the package take


def add_output(parser: argparse.ArgumentParser, figure: str, *, chunk: int = 1000) -> None:
    """Declare the options that say where everything goes."""
    parser.add_argument(
        "--out", type=Path, required=True, help="image set to write, .safetensors or .npz"
    )
    parser.add_argument("--figure", type=Path, help=f"{figure}: .png, .svg or .pdf")
    parser.add_argument("--grid", type=Path, help=f"contact sheet of the first {_SHOWN}: .png")
    parser.add_argument(
        "--chunk", type=int, default=chunk,
        help="images at once; finished chunks outlive an interruption (default: %(default)s)",
    )  # fmt: skip


@contextlib.contextmanager
def making(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Yield what a set function takes to show progress and, under torchrun, to share the work.

    On Ctrl-C it says what is kept.
    """
    check_picture(args.figure)
    check_picture(args.grid, ".png")
    try:
        with job(args.command, args.device) as mesh, images_bar(args.command) as bar:
            if not mesh.first:
                args.figure = args.grid = None
            yield {"chunk": args.chunk, "on_progress": bar, "shared": mesh.size > 1}
    except KeyboardInterrupt:
        stderr.print(
            f"\nstopped; finished chunks are kept beside {args.out}, the same command goes on"
        )
        raise


def check_picture(path: Path | None, *suffixes: str) -> None:
    """Check that a picture can be written there, before the work begins.

    Raises:
        InputError: for another suffix, or a folder that is not there.
        MissingPackageError: when matplotlib is not installed.
    """
    check_file(path, *(suffixes or (".png", ".svg", ".pdf")))
    if path is not None:
        need_matplotlib()


def report(
    images: ImageSet,
    args: argparse.Namespace,
    extra: dict[str, Any],
    lines: Sequence[str],
    arrived: str,
) -> None:
    """Print the results, ``extra`` for machines and ``lines`` for people; draw the sheet."""
    if args.grid is not None:
        save_grid(
            images.images[:_SHOWN], args.grid, columns=10, marked=~images.facts["success"][:_SHOWN]
        )
    facts, reasons, count = images.facts, images.metadata["stopped"], len(images)
    stops = torch.bincount(facts["stopped"].long(), minlength=len(reasons)).tolist()
    stopped = {reason: n for reason, n in zip(reasons, stops, strict=True) if n}
    success, steps = int(facts["success"].sum()), float(facts["steps"].double().median())
    l2, linf = float(facts["l2"].median()), float(facts["linf"].median())
    results = {
        "out": str(args.out),
        "images": count,
        "success": success,
        "stopped": stopped,
        "median_steps": steps,
        "median_l2": l2,
        "median_linf": linf,
        **extra,
        "parameters": images.metadata["parameters"],
    }
    if args.json:
        print_json(results)
        return
    stdout.print(f"{success} of {count} images ({percent(success / count)}) {arrived}")
    for line in lines:
        stdout.print(line)
    why = ", ".join(f"{reason} {n}" for reason, n in stopped.items())
    stdout.print(f"stopped: {why}; median {steps:g} steps")
    stdout.print(
        f"median distance L2 {l2:.3f}, Linf {linf:.3f} "
        f"(visible units; in [0, 1] units {l2 / 2:.3f}, {linf / 2:.3f})"
    )
    for what, path in (("set", args.out), ("figure", args.figure), ("grid", args.grid)):
        if path is not None:
            stdout.print(f"{what} in {path}")
    if images.n_inputs == _DIGIT:
        victim = "mnist-n2" if args.model == "mnist-n30" else "mnist-n30"
        shown = command_line("transfer", args.model, victim, "--sets", args.out)
        stdout.print(f"see whether others are fooled: {shown}", soft_wrap=True)
    else:
        say_next("evaluate", args.model, "--dataset", args.out)
