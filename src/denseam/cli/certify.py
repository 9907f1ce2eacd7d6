"""denseam certify: prove radii within which no change of an image changes its label.

Every radius has a proof, checked in float64 with errors rounded outward. For models of
the limit (trained by `denseam train --certify`, or nearest neighbours) radii are the
distances to the boundary; for finite n they are lower bounds. Sizes are in [0, 1] units.
With --attack, the curve that the shortest attack leaves: the truth lies between.
With --save, the same command goes on after an interruption.

Examples:
    denseam certify mnist-certified-l2
    denseam certify mnist-certified-l2 --bound pairwise --count 10000 --json
    denseam certify mnist-n30 --count 100 --attack 100 --out n30.png
    denseam certify runs/certified --count 10000 --save proofs.json
    denseam certify mnist-n3 --norm linf --count 50 --eps 0.01 0.02
"""

import argparse
import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args

import torch
from rich.text import Text
from torch import Tensor

from denseam.certificates import BOUNDS, Certificates, certify
from denseam.certificates.entrance import Norm, digest
from denseam.certificates.result import SHOWN, join
from denseam.checks import numbers
from denseam.classifier import Classifier
from denseam.cli.common import (
    add_images,
    add_model,
    check_count,
    check_file,
    percent,
    print_json,
    same_data,
    say_next,
    stderr,
    stdout,
)
from denseam.cli.own import examples_for
from denseam.cli.progress import images_bar
from denseam.cli.tables import FittedTable
from denseam.data import Examples
from denseam.descent import minimum_norm
from denseam.errors import InputError
from denseam.figures import certificates as figure
from denseam.figures.canvas import need_matplotlib
from denseam.pretrained import load_any

_PART = 500  # images between two writes of --save


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    add_model(parser)
    add_images(parser, count=1000)
    parser.add_argument(
        "--norm", choices=get_args(Norm), default="l2", help="of the distance (default: l2)"
    )
    bounds = "; ".join(f"{name}: {bound.title}" for name, bound in BOUNDS.items())
    parser.add_argument(
        "--bound", choices=("best", *BOUNDS), default="best",
        help=f"{bounds} (default: the best for the model)",
    )  # fmt: skip
    parser.add_argument(
        "--no-box",
        action="store_true",
        help="count changes that leave [-1, 1] too: shorter radii, to compare with others'",
    )
    parser.add_argument(
        "--eps", type=float, nargs="+", help="sizes to list; without any, 0.5, 1, 1.58 and 2 in L2"
    )
    parser.add_argument(
        "--attack", type=int, default=0, metavar="COUNT",
        help="attack the first so many images by the shortest way as well (default: 0)",
    )  # fmt: skip
    parser.add_argument("--save", type=Path, help="write radii and proofs to this .json file")
    parser.add_argument("--out", type=Path, help="draw the curves: .png, .svg or .pdf")


def run(args: argparse.Namespace) -> int:
    """Certify, attack, draw, print."""
    check_file(args.save, ".json")
    check_file(args.out, ".png", ".svg", ".pdf")
    if args.out is not None:
        need_matplotlib()
    sizes = numbers("eps", args.eps or SHOWN[args.norm], least=0)
    model = load_any(args.model, device=args.device)
    images = examples_for(args, {args.model: model})[: check_count(args.count)]
    inputs = images.inputs(model.input_dtype, args.device)
    certificates = _certified(args, model, inputs, images)
    attacked = _attacked(args, model, inputs, images.labels)
    if args.out is not None:
        shown = {} if attacked is None else {"shortest attack": attacked}
        figure.save(figure.record_of(certificates, attacked=shown), args.out)
    if args.json:
        facts = certificates.summary()
        facts["certified"] = {f"{eps:g}": certificates.accuracy(eps) for eps in sizes}
        if attacked is not None:
            facts["attack"] = _attack_facts(certificates, attacked, sizes)
        print_json({"model": args.model, "dataset": images.name, **facts})
        return 0
    _print(args, certificates, attacked, sizes)
    return 0


def _certified(
    args: argparse.Namespace, model: Classifier, inputs: Tensor, images: Examples
) -> Certificates:
    """Certify in parts; with --save, those of an earlier call are not made again."""
    options: dict[str, Any] = {"norm": args.norm, "bound": args.bound, "box": not args.no_box}
    parts: list[Certificates] = []
    if args.save is not None and args.save.exists():
        parts = [_before(args.save, model, images, args)]
    done = sum(len(part) for part in parts)
    with _bar(done, len(inputs)) as bar:
        while done < len(inputs):
            rows = slice(done, done + _PART)
            bar.done = done
            labels = images.labels[rows].to(inputs.device)
            parts.append(certify(model, inputs[rows], labels, on_progress=bar, **options))
            done += len(parts[-1])
            if args.save is not None:
                join(parts).save(args.save)
    return join(parts)


class _Bar:
    """A bar over all images, called for a part of them."""

    def __init__(self, update: Callable[[int, int], None], done: int, total: int) -> None:
        self.update, self.done, self.total = update, done, total

    def __call__(self, done: int, total: int) -> None:
        del total
        self.update(self.done + done, self.total)


@contextlib.contextmanager
def _bar(done: int, total: int) -> Iterator[_Bar]:
    with images_bar("certify") as update:
        yield _Bar(update, done, total)


def _before(
    path: Path, model: Classifier, images: Examples, args: argparse.Namespace
) -> Certificates:
    """Return the certificates of an earlier call.

    Raises:
        InputError: when they are of another model, other images or another norm.
    """
    before = Certificates.load(path)
    count = min(len(before), len(images))
    same = (
        before.model == digest(model)
        and before.norm == args.norm
        and before.box == (not args.no_box)
        and torch.equal(before.labels[:count], images.labels[:count].cpu())
    )
    if not same or len(before) > len(images):
        raise InputError(f"{path} holds other certificates: wanted a new file, or the same command")
    return before


def _attacked(
    args: argparse.Namespace, model: Classifier, inputs: Tensor, labels: Tensor
) -> Tensor | None:
    """Return distances (B,) of the shortest attack on the first images, [0, 1] units."""
    if args.attack == 0:
        return None
    count = check_count(args.attack)
    with images_bar("attack") as bar:
        result = minimum_norm(
            model, inputs[:count], labels[:count].to(inputs.device), norm=args.norm,
            eight_bit=False, on_progress=bar,
        )  # fmt: skip
    order = 2 if args.norm == "l2" else torch.inf
    moved = (result.images - inputs[:count]).flatten(1).double()
    distances = torch.linalg.vector_norm(moved, ord=order, dim=1).cpu() / 2
    wrong = model.predict(inputs[:count]).cpu() != labels[:count].cpu()
    missed = ~result.success.cpu() & ~wrong
    return torch.where(missed, torch.inf, torch.where(wrong, 0.0, distances))


def _attack_facts(
    certificates: Certificates, attacked: Tensor, sizes: list[float]
) -> dict[str, Any]:
    same = certificates.distances[: len(attacked)]
    return {
        "n_images": len(attacked),
        "left": {f"{eps:g}": float((attacked > eps).double().mean()) for eps in sizes},
        "certified": {f"{eps:g}": float((same > eps).double().mean()) for eps in sizes},
        "median": float(attacked.median()),
        "inside": int((attacked < same).sum()),
    }


def _print(
    args: argparse.Namespace, certificates: Certificates, attacked: Tensor | None,
    sizes: list[float],
) -> None:  # fmt: skip
    bounds = ", ".join(f"{name} for {count}" for name, count in certificates.bounds.items())
    stdout.print(
        Text.assemble(
            f"{args.model} on {len(certificates)} images, {args.norm}, [0, 1] units: error ",
            (percent(certificates.error), "bold"),
            f", median radius {certificates.median:.4g}, {certificates.seconds:.1f} s "
            f"(bounds: {bounds or 'none'})",
        )
    )
    rows = [[f"{eps:g}", percent(certificates.accuracy(eps))] for eps in sizes]
    columns = ["eps", "certified"]
    if attacked is not None:
        facts = _attack_facts(certificates, attacked, sizes)
        columns += [f"certified, first {len(attacked)}", "attack leaves"]
        for row, eps in zip(rows, sizes, strict=True):
            row += [percent(facts[name][f"{eps:g}"]) for name in ("certified", "left")]
        if facts["inside"]:
            stderr.print(f"{facts['inside']} attacks are inside of a certificate: report this")
    stdout.print(FittedTable(None, columns, rows))
    for what, path in (("proofs", args.save), ("curves", args.out)):
        if path is not None:
            stdout.print(f"{what} in {path}")
    more = ["--method", "minimum", "--norm", args.norm, "--count", 100, "--out", "near.safetensors"]
    say_next("attack", args.model, *same_data(args), *more)
