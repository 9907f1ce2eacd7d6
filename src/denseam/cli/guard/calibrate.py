r"""denseam guard calibrate: make a guard, and set its threshold from clean images.

Use clean images like those that will come: the promised rejection holds, on average, for
images that are exchangeable with them. Use neither the images that the members were
trained on nor those that the guard will be evaluated on. `evaluate` uses MNIST's test
images too, unless both commands get a --dataset of their own. Pictures of another size, a
folder of scans say, are prepared as `guard check` prepares them.

Examples:
    denseam guard calibrate --detector mnist-n30 --classifier mnist-relu --out guard
    denseam guard calibrate --detector runs/n30 --classifier cnn.onnx \
        --dataset clean.npz --out guard
    denseam guard calibrate --detector mnist-n30 \
        --classifier http://host:8000/v2/models/cnn --out guard
    denseam guard calibrate --detector mnist-n30 --classifier mnist-n2 --score gap+log_energy \
        --target-rejection 0.05 --out guard.safetensors
    denseam guard calibrate --detector mnist-n30 --classifier mnist-relu --dataset scans/ \
        --out guard
"""

import argparse
from pathlib import Path

from denseam.cli.common import (
    add_dataset,
    add_part,
    add_preparation,
    chosen_images,
    foreign,
    percent,
    print_json,
    stdout,
)
from denseam.fronts.preparing import preparation_of, prepared
from denseam.guard import DEFAULT_SCORE, SCORES, Guard
from denseam.guard.members import TAKES
from denseam.pretrained import load_any


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    parser.add_argument(
        "--detector", required=True, metavar="MODEL",
        help="a name like mnist-n30, a model file, or the folder of a finished run",
    )  # fmt: skip
    parser.add_argument(
        "--classifier", required=True, metavar="CLASSIFIER",
        help="the same, an .onnx file, or the URL of a model that speaks the Open Inference "
        "Protocol",
    )  # fmt: skip
    parser.add_argument("--out", type=Path, required=True, help="folder, or .safetensors file")
    add_dataset(parser)
    add_part(parser)
    parser.add_argument("--count", type=int, help="the first so many (default: all)")
    add_preparation(parser)
    parser.add_argument(
        "--target-rejection", type=float, default=0.01,
        help="share of clean images that may be rejected (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--score", default=DEFAULT_SCORE,
        help=f"{', '.join(SCORES)}, or some joined by + (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--takes", choices=TAKES, help="how the classifier is shown images (default: as it says)"
    )


def run(args: argparse.Namespace) -> int:
    """Calibrate, save, report."""
    images = chosen_images(args)
    detector = load_any(args.detector, device=args.device)
    if images.n_inputs != detector.n_inputs:
        images = prepared(images, preparation_of(detector, invert=args.invert, centre=args.centre))
    guard = Guard(
        detector, _classifier(args), score=args.score, image_shape=images.shape, takes=args.takes,
    )  # fmt: skip
    guard.calibrate(images, args.target_rejection, seed=args.seed)
    guard.save(args.out)
    if args.json:
        print_json({"out": str(args.out), "dataset": images.name, **guard.to_json()})
        return 0
    facts = guard.to_json()
    members = foreign(f"{facts['score']} of {args.detector} before {args.classifier}")
    stdout.print(members.append(f": junk above {facts['threshold']:.6g}"))
    stdout.print(
        f"rejects {percent(args.target_rejection)} of clean images like these, by "
        f"{facts['n_calibration']} of {len(images)} images of",
        foreign(images.name),
    )
    stdout.print(foreign(f"guard in {args.out}"))
    return 0


def _classifier(args: argparse.Namespace) -> object:
    """Return a URL or an ONNX file as it is, anything else as a network on the device."""
    name: str = args.classifier
    if name.startswith(("http://", "https://")) or name.endswith(".onnx"):
        return name
    return load_any(name, device=args.device)
