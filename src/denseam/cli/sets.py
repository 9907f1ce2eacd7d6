"""Parts of `denseam rubbish`, `boundary` and `attack`: options, making the set, the report."""

import argparse
import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from denseam.cli.common import job, percent, print_json, stderr, stdout
from denseam.cli.progress import images_bar
from denseam.data import ImageSet
from denseam.errors import InputError
from denseam.figures.canvas import need_matplotlib
from denseam.figures.grid import save_grid

__all__ = ["add_output", "check_picture", "making", "report"]

_SHOWN = 100  # images of a contact sheet
_FIGURE = (".png", ".svg", ".pdf")
_SUFFIXES = {"figure": _FIGURE, "grid": (".png",)}


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


@dataclass(frozen=True)
class Making:
    """A set that is being made, by one process or several."""

    bar: Callable[[int, int], None]  # called with images done and images in all
    shared: bool  # other processes make the same set


@contextlib.contextmanager
def making(args: argparse.Namespace) -> Iterator[Making]:
    """Show progress, and on Ctrl-C say what is kept; under torchrun, share the work."""
    for name, suffixes in _SUFFIXES.items():
        check_picture(getattr(args, name), suffixes)
    try:
        with job(args.command, args.device) as mesh, images_bar(args.command) as bar:
            if not mesh.first:
                args.figure = args.grid = None
            yield Making(bar, mesh.size > 1)
    except KeyboardInterrupt:
        stderr.print(
            f"\nstopped; finished chunks are kept beside {args.out}, the same command goes on",
            soft_wrap=True,
        )  # fmt: skip
        raise


def check_picture(path: Path | None, suffixes: tuple[str, ...] = _FIGURE) -> None:
    """Check that a picture can be written there, before the work begins.

    Raises:
        InputError: for another suffix, or a folder that is not there.
        MissingPackageError: when matplotlib is not installed.
    """
    if path is None:
        return
    if path.suffix.lower() not in suffixes:
        raise InputError(f"{path}: wanted a {' or '.join(suffixes)} file")
    if not path.absolute().parent.is_dir():
        raise InputError(f"{path}: no such folder {path.absolute().parent}")
    need_matplotlib()


def report(
    images: ImageSet,
    args: argparse.Namespace,
    extra: dict[str, Any],
    lines: Sequence[str],
    arrived: str = "got where they were to go",
) -> None:
    """Print the results, ``extra`` for machines and ``lines`` for people; draw the sheet."""
    if args.grid is not None:
        save_grid(
            images.images[:_SHOWN], args.grid, columns=10, marked=~images.facts["success"][:_SHOWN]
        )
    facts, reasons = images.facts, images.metadata["stopped"]
    stops = torch.bincount(facts["stopped"].long(), minlength=len(reasons)).tolist()
    results = {
        "out": str(args.out),
        "images": len(images),
        "success": int(facts["success"].sum()),
        "stopped": {reason: n for reason, n in zip(reasons, stops, strict=True) if n},
        "median_steps": float(facts["steps"].double().median()),
        "median_l2": float(facts["l2"].median()),
        "median_linf": float(facts["linf"].median()),
        **extra,
        "parameters": images.metadata["parameters"],
    }
    if args.json:
        print_json(results)
        return
    stdout.print(
        f"{results['success']} of {results['images']} images "
        f"({percent(results['success'] / results['images'])}) {arrived}"
    )
    for line in lines:
        stdout.print(line)
    stopped = ", ".join(f"{reason} {n}" for reason, n in results["stopped"].items())
    stdout.print(f"stopped: {stopped}; median {results['median_steps']:g} steps")
    stdout.print(
        f"median distance L2 {results['median_l2']:.3f}, Linf {results['median_linf']:.3f} "
        f"(visible units; in [0, 1] units {results['median_l2'] / 2:.3f}, "
        f"{results['median_linf'] / 2:.3f})"
    )
    for what, path in (("set", args.out), ("figure", args.figure), ("grid", args.grid)):
        if path is not None:
            stdout.print(f"{what} in {path}")
