"""denseam boundary: lead images across a decision boundary.

Section 4 of the paper: descend the objective of another class from clean images, keep
the first image behind the boundary, and find the boundary itself in float64. The set
holds the right labels, so `denseam transfer OTHER --sets SET` shows whether it
transfers. After an interruption, the same command continues.

Examples:
    denseam boundary mnist-n30 --out n30.safetensors --figure fig4.png
    denseam boundary mnist-n2 --count 10000 --mode controlled --out n2.safetensors
    denseam boundary runs/n20 --target least --objective margin --out far.npz --grid far.png
    denseam boundary mnist-n20 --count 20 --target each --keep boundary --out around.safetensors
    torchrun --nproc-per-node 4 -m denseam boundary mnist-n30 --count 10000 --out n30.safetensors
"""

import argparse
from typing import Any, get_args

from denseam.classifier import Classifier
from denseam.cli.common import add_images, add_model
from denseam.cli.flags import add_flags, from_signature, typed
from denseam.cli.own import chosen_for
from denseam.cli.sets import add_output, making, report
from denseam.data import ImageSet
from denseam.descent import boundary_set, cross_boundary
from denseam.descent.boundary import RankedTarget
from denseam.descent.sets import Keep
from denseam.errors import InputError
from denseam.figures import boundary
from denseam.figures.records import boundary_traces, model_name
from denseam.pretrained import load_any

_OPTIONS = from_signature(
    cross_boundary, "mode", "step", "norm", "objective", "loss_power", "max_steps"
)
_TARGETS = (*get_args(RankedTarget), "each")
_TRACED = 3  # images of the figure


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    add_model(parser)
    add_images(parser, count=1000)
    parser.add_argument(
        "--target", default="second",
        help=f"{', '.join(_TARGETS)}, or a class number (default: %(default)s)",
    )  # fmt: skip
    add_output(parser, "objectives along the way, and clean, boundary and final images (Fig. 4)")
    way = parser.add_argument_group("the way")
    add_flags(way, _OPTIONS)
    way.add_argument("--keep", nargs="+", choices=get_args(Keep), default=[],
                     help="further images to keep in the set")  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Make the set, draw, report."""
    model = load_any(args.model, device=args.device)
    images = chosen_for(args, {args.model: model})
    with making(args) as work:
        crossed = boundary_set(
            model, images, args.out, _target(args.target), keep=args.keep, seed=args.seed,
            **work, **typed(args, _OPTIONS),
        )  # fmt: skip
        if args.figure is not None:
            _draw(model, images, crossed, args)
    distances = crossed.facts["boundary_l2"][crossed.facts["success"]]
    median = float(distances.median()) if len(distances) else None
    lines = []
    if median is not None:
        half = median / 2
        lines = [f"median L2 distance of the boundary {median:.3f} (in [0, 1] units {half:.3f})"]
    report(crossed, args, {"median_boundary_l2": median}, lines, "crossed, and are their target")
    return 0


def _target(text: str) -> Any:
    if text in _TARGETS:
        return text
    if not text.isdecimal():
        raise InputError(f"--target {text}: wanted {', '.join(_TARGETS)} or a class number")
    return int(text)


def _draw(model: Classifier, images: ImageSet, crossed: ImageSet, args: argparse.Namespace) -> None:
    """Draw Fig. 4 of the first images of the set that crossed."""
    rows = crossed.facts["success"].nonzero().flatten()[:_TRACED]
    if not len(rows):
        raise InputError(f"{args.figure}: no image crossed, there is nothing to draw")
    visible = images.visible(model.memories.dtype)[crossed.facts["source"][rows]].to(args.device)
    targets = crossed.facts["target"][rows].to(args.device)
    again = cross_boundary(
        model, visible, targets, samples=range(len(rows)), **typed(args, _OPTIONS)
    )
    final = [int(model.predict(trace.final[None])) for trace in again.traces]
    traces = boundary_traces(
        again, visible, final, shape=images.shape, class_names=images.class_names,
        name=model_name(crossed), step=crossed.metadata["parameters"]["step"],
    )  # fmt: skip
    boundary.save(traces, args.figure)
