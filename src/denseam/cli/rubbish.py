"""denseam rubbish: make rubbish images of every class.

Section 3 of the paper: descend the objective of each class from noise until it
converges. At small n that ends in speckle, at large n in images like those learned.
After an interruption, the same command continues.

Examples:
    denseam rubbish mnist-n30 --out rubbish-n30.safetensors --figure fig3.png
    denseam rubbish mnist-n2 --per-class 100 --out rubbish-n2.safetensors
    denseam rubbish runs/n20 --classes 3 8 --noise 0.3 --out some.npz --grid some.png
"""

import argparse

from denseam.cli.common import add_model
from denseam.cli.flags import add_flags, from_signature, typed
from denseam.cli.sets import add_output, making, report
from denseam.data.arrays import square
from denseam.descent import rubbish, rubbish_set
from denseam.descent.facts import reached
from denseam.errors import InputError
from denseam.figures import rubbish as figure
from denseam.figures.records import rubbish_grid
from denseam.pretrained import load_any

_WHICH = from_signature(rubbish, "classes", "per_class")
_OPTIONS = from_signature(rubbish, "noise", "step", "loss_power", "max_steps")
_ROWS = 4  # of the figure, at most


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    add_model(parser)
    add_flags(parser, _WHICH)
    parser.add_argument(
        "--shape", type=int, nargs=2, metavar=("H", "W"), help="of an image (default: a square)"
    )
    add_output(parser, "a row for every image of a class (Fig. 3)", chunk=100)
    add_flags(parser.add_argument_group("the way"), _OPTIONS)


def run(args: argparse.Namespace) -> int:
    """Make the set, draw, report."""
    model = load_any(args.model, device=args.device)
    front_shape = getattr(model.front, "input_shape", ())  # (H, W) of pictures
    shape = args.shape or (front_shape if len(front_shape) == 2 else square(model.n_inputs))
    if shape is None:
        raise InputError(f"images of {model.n_inputs} pixels are no squares: wanted --shape H W")
    with making(args) as work:
        images = rubbish_set(
            model, out=args.out, shape=tuple(shape), seed=args.seed, **work,
            **typed(args, _WHICH + _OPTIONS),
        )  # fmt: skip
        if args.figure is not None:
            rows = min(images.metadata["parameters"]["per_class"], _ROWS)
            figure.save(rubbish_grid([images], rows), args.figure)
    count = int(reached(images).sum())
    lines = [f"{count} are labelled as their class with its Y above 1/2, converged or not"]
    report(images, args, {"reached": count}, lines, "converged as their class")
    return 0
