r"""denseam guard calibrate: make a guard, and set its threshold from clean images.

Use clean images like those that will come: the promised rejection holds, on average, for
images that are exchangeable with them. Use neither the images that the members were
trained on nor those that the guard will be evaluated on: `evaluate` warns of those. By
default they are the test images of what the detector was trained on. Says how often both
members are right on them, and warns where that is seldom: they are strangers then.
Pictures of another size, a folder of scans say, are prepared as `guard check` prepares them.

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
    LARGEST_SCAN,
    add_own_dataset,
    add_part,
    add_preparation,
    check_count,
    foreign,
    load_examples,
    percent,
    print_json,
    say_next,
    stderr,
    stdout,
)
from denseam.cli.own import chosen_for, reading_of
from denseam.cli.progress import parts_bar
from denseam.data import ImageSet
from denseam.fronts.preparing import preparation_of, prepared
from denseam.guard import DEFAULT_SCORE, SCORES, Guard
from denseam.guard.calibration import CalibratedOn
from denseam.guard.members import TAKES
from denseam.pretrained import load_any

_SHOWN = 20  # images of the command that is named last


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
    add_own_dataset(parser)
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
    detector, classifier = load_any(args.detector, device=args.device), _classifier(args)
    members = {args.detector: detector, args.classifier: classifier}
    images = _all_of_one(args, list(members.values())) or chosen_for(args, members)
    if images.n_inputs != detector.n_inputs:
        images = prepared(images, preparation_of(detector, invert=args.invert, centre=args.centre))
    guard = Guard(
        detector, classifier, score=args.score, image_shape=images.shape, takes=args.takes,
    )  # fmt: skip
    with parts_bar("calibrate") as bar:
        bar(f"scores of {len(images)} images", 0, 2)
        guard.calibrate(images, args.target_rejection, seed=args.seed)
        bar("labels of both members", 1, 2)
        clean = guard.measure(images)
    guard.save(args.out)
    _warn_of_strangers(clean, args)
    if args.json:
        facts = {**guard.to_json(), "calibrated_on": clean.to_json()}
        print_json({"out": str(args.out), "dataset": images.name, **facts})
        return 0
    facts = guard.to_json()
    names = foreign(f"{facts['score']} of {args.detector} before {args.classifier}")
    stdout.print(names.append(f": junk above {facts['threshold']:.6g}"))
    stdout.print(
        f"rejects {percent(args.target_rejection)} of clean images like these, by "
        f"{facts['n_calibration']} of {len(images)} images of",
        foreign(images.name),
    )
    _say_how_well_known(clean)
    stdout.print(foreign(f"guard in {args.out}"))
    read = dict(images.metadata["read"])
    shown, which = read.pop("dataset"), [] if args.part == "test" else ["--part", args.part]
    options = (word for key, x in read.items() for word in (f"--{key.replace('_', '-')}", x))
    say_next("guard", "check", args.out, shown, *options, *which, "--count", _SHOWN)
    return 0


def _say_how_well_known(clean: CalibratedOn) -> None:
    """Say how often both members are right on these images, and agree."""
    right = {"detector": clean.detector_accuracy, "classifier": clean.classifier_accuracy}
    words = [f"the {name} is right on {percent(share)}" for name, share in right.items()
             if share is not None]  # fmt: skip
    if clean.agreement is not None:
        words.append(f"they agree on {percent(clean.agreement)}")
    stdout.print(foreign(f"{', '.join(words)} of {clean.measured} of these images"))


def _warn_of_strangers(clean: CalibratedOn, args: argparse.Namespace) -> None:
    """Warn of members that are seldom right on these images."""
    right = {"detector": clean.detector_accuracy, "classifier": clean.classifier_accuracy}
    for name in clean.strangers:
        text = (
            f"warning: {getattr(args, name)}, the {name}, does not know these images: it is right "
            f"on {percent(right[name] or 0)}. What the guard lets through is labelled no better"
        )
        stderr.print(foreign(text), soft_wrap=True)


def _all_of_one(args: argparse.Namespace, members: list[object]) -> ImageSet | None:
    """Return the whole of one set that no member was trained on; None for any other data.

    There is no part of it that training has seen, so nothing is held out of it.
    """
    # Scans in the size that `guard check` will see, for they are prepared by the same code.
    named = args.dataset is not None
    examples = load_examples(args, args.dataset, largest=LARGEST_SCAN) if named else None
    learned = [known.data for each in members if (known := getattr(each, "trained_on", None))]
    if not isinstance(examples, ImageSet) or any(d.startswith(examples.name) for d in learned):
        return None
    examples = examples.renamed(examples.name, read=reading_of(args))
    return examples.subset(slice(check_count(args.count)))


def _classifier(args: argparse.Namespace) -> object:
    """Return a URL or an ONNX file as it is, anything else as a network on the device."""
    name: str = args.classifier
    if name.startswith(("http://", "https://")) or name.endswith(".onnx"):
        return name
    return load_any(name, device=args.device)
