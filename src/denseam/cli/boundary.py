"""`denseam boundary`"""

import argparse
from typing import Any, get_args

from denseam.classifier import Classifier
from denseam.cli.common import add_command, add_images, add_model, chosen_images
from denseam.cli.sets import add_output, given_options, making, report
from denseam.data import ImageSet
from denseam.descent import boundary_set, cross_boundary
from denseam.descent.boundary import Mode, Objective
from denseam.descent.loop import Norm
from denseam.descent.sets import Keep
from denseam.errors import InputError
from denseam.figures import boundary
from denseam.figures.records import boundary_traces, model_name
from denseam.pretrained import load_any

_OPTIONS = ("step", "norm", "objective", "mode", "max_steps", "loss_power")
_TRACED = 3  # images of the figure


def add_to(commands: Any) -> None:
    """Declare the command."""
    parser = add_command(
        commands,
        "boundary",
        "lead images across a decision boundary",
        "Section 4 of the paper: descend the objective of another class from clean images, keep\n"
        "the first image behind the boundary, and find the boundary itself in float64. The set\n"
        "holds the right labels, so `denseam transfer OTHER --sets SET` shows whether it\n"
        "transfers. Interrupt it when you like: the same command goes on.",
        """
denseam boundary mnist-n30 --out n30.safetensors --figure fig4.png
denseam boundary mnist-n2 --count 10000 --mode controlled --out n2.safetensors
denseam boundary runs/n20 --target least --objective margin --out far.npz --grid far.png
denseam boundary mnist-n20 --count 20 --target each --keep boundary --out around.safetensors
torchrun --nproc-per-node 4 -m denseam boundary mnist-n30 --count 10000 --out n30.safetensors
""",
    )
    add_model(parser)
    add_images(parser, count=1000)
    parser.add_argument(
        "--target", default="second",
        help="second, least, random, each, or a class number (default: %(default)s)",
    )  # fmt: skip
    add_output(parser, "objectives along the way, and clean, boundary and final images (Fig. 4)")
    way = parser.add_argument_group("the way")
    way.add_argument("--mode", choices=get_args(Mode), help="steps of one length, or as long as "
                     "the way is straight (default: faithful)")  # fmt: skip
    way.add_argument("--step", type=float, help="eps, visible units (default: 0.1)")
    way.add_argument("--norm", choices=get_args(Norm), help="of a step (default: l2)")
    way.add_argument("--objective", choices=get_args(Objective), help="the paper's C on Y, or the "
                     "log-energy margin, which never saturates (default: paper)")  # fmt: skip
    way.add_argument("--loss-power", type=float, help="m (default: 4, from n = 10 on 30)")
    way.add_argument("--max-steps", type=int, help="(default: 1000)")
    way.add_argument("--keep", nargs="+", choices=get_args(Keep), default=[],
                     help="further images to keep in the set")  # fmt: skip
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Make the set, draw, report."""
    model, images = load_any(args.model, device=args.device), chosen_images(args)
    options = given_options(args, *_OPTIONS)
    with making(args) as work:
        made = boundary_set(
            model, images, args.out, _target(args.target), keep=args.keep, seed=args.seed,
            chunk=args.chunk, on_progress=work.bar, shared=work.shared, **options,
        )  # fmt: skip
        if args.figure is not None:
            _draw(model, images, made, args, options)
    crossed = made.facts["boundary_l2"][made.facts["success"]]
    distance = float(crossed.median()) if len(crossed) else None
    lines = []
    if distance is not None:
        half = distance / 2
        lines = [f"median L2 distance of the boundary {distance:.3f} (in [0, 1] units {half:.3f})"]
    extra = {"median_boundary_l2": distance}
    report(made, args, extra, lines, "crossed, and are their target")
    return 0


def _target(text: str) -> Any:
    if text in ("second", "least", "random", "each"):
        return text
    if not text.isdecimal():
        raise InputError(f"--target {text}: wanted second, least, random, each or a class number")
    return int(text)


def _draw(
    model: Classifier,
    images: ImageSet,
    made: ImageSet,
    args: argparse.Namespace,
    options: dict[str, Any],
) -> None:
    """Fig. 4 of the first images of the set that crossed."""
    rows = made.facts["success"].nonzero().flatten()[:_TRACED]
    if not len(rows):
        raise InputError(f"{args.figure}: no image crossed, there is nothing to draw")
    visible = images.visible(model.memories.dtype)[made.facts["source"][rows]].to(args.device)
    targets = made.facts["target"][rows].to(args.device)
    found = cross_boundary(model, visible, targets, samples=range(len(rows)), **options)
    final = [int(model.predict(trace.final[None])) for trace in found.traces]
    traces = boundary_traces(
        found, visible, final, shape=images.shape, class_names=images.class_names,
        name=model_name(made), step=made.metadata["parameters"]["step"],
    )  # fmt: skip
    boundary.save(traces, args.figure)
