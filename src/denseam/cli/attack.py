"""denseam attack: attack a model by its gradients, by the shortest way or by random search.

Section 6 of the paper, and more. Directions are exact, also where tanh has saturated.
Sizes are Linf in visible units, where black and white are 2 apart. After an
interruption, the same command continues.

Examples:
    denseam attack mnist-n30 --method fgsm --eps 0.3 --out fgsm.safetensors
    denseam attack mnist-n2 --method fgsm --eps 0 0.1 0.2 0.3 0.4 0.5 --out n2.npz --figure fig8.png
    denseam attack mnist-n20 --method bim --steps 20 --head log_energy --eps 0.2 --out bim.npz
    denseam attack runs/n20 --method llc --eps 0.2 --out llc.safetensors --grid llc.png
    denseam attack mnist-n30 --method minimum --norm l2 --out near.safetensors --figure budget.png
    denseam attack mnist-n2 --method minimum --eight-bit --out pictures.safetensors --grid near.png
    denseam attack mnist-n3 --method square --queries 500 --eps 0.2 --out square.safetensors
"""

import argparse
import math
from dataclasses import replace
from typing import Any, get_type_hints

import torch

from denseam.analysis import confidence_of
from denseam.checks import exact
from denseam.classifier import Classifier
from denseam.cli.common import add_images, add_model, percent
from denseam.cli.flags import Flag, add_flags, from_signature, typed
from denseam.cli.own import chosen_for
from denseam.cli.sets import add_output, making, report
from denseam.data import ImageSet
from denseam.data.pixels import to_bytes
from denseam.descent import ATTACKS, attack_set
from denseam.errors import InputError
from denseam.evaluation import predict_images
from denseam.figures import budget, sign
from denseam.figures.records import budget_curves, sign_curves
from denseam.pretrained import load_any

_HEADS = {"tanh": "objective", "log_energy": "cross_entropy"}  # and their losses
_SIZES = (0.1, 0.2, 0.3, 0.4, 0.5)
_KINDS = (bool, float, int, str)  # that can be typed
_QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)  # of the images


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    methods = "; ".join(f"{name}: {attack.title}" for name, attack in ATTACKS.items())
    add_model(parser)
    parser.add_argument("--method", choices=ATTACKS, required=True, help=methods)
    parser.add_argument("--eps", type=float, nargs="+",
                        help="Linf sizes; 0 is the clean image (default: 0.1 to 0.5)")  # fmt: skip
    add_images(parser, count=1000)
    add_output(
        parser, "error and confidence on errors against eps (Fig. 8), or, of minimum, accuracy "
        "against distance",
    )  # fmt: skip
    options = parser.add_argument_group("options of the methods")
    flags = _flags()
    loss = options.add_mutually_exclusive_group()
    loss.add_argument("--head", choices=_HEADS, help="short for --loss: tanh means objective, "
                      "log_energy means cross_entropy")  # fmt: skip
    add_flags(loss, [flag for flag in flags if flag.name == "loss"])
    add_flags(options, [flag for flag in flags if flag.name != "loss"])


def run(args: argparse.Namespace) -> int:
    """Make the set, draw, report."""
    options = _options(args)
    sized = "eps" in ATTACKS[args.method].parameters
    model = load_any(args.model, device=args.device)
    images = chosen_for(args, {args.model: model})
    with making(args) as work:
        attacked = attack_set(
            model, images, args.method, (args.eps or _SIZES) if sized else None, args.out,
            **work, **options,
        )  # fmt: skip
        if args.figure is not None and sized:
            sign.save(sign_curves([attacked]), args.figure)
        elif args.figure is not None:
            budget.save(budget_curves([attacked]), args.figure)
    facts, lines = _sizes(attacked) if sized else _distances(attacked)
    written = _wrong_as_written(model, attacked)
    facts["wrong_as_pictures"] = written
    lines.append(f"{written} of {len(attacked)} are labelled wrongly also as 8-bit pictures")
    report(attacked, args, facts, lines, "are labelled wrongly")
    return 0


def _wrong_as_written(model: Classifier, images: ImageSet) -> int:
    """Count the images that are labelled wrongly when they are written as 8-bit pictures."""
    pictures = ImageSet(to_bytes(images.images), images.labels, images.n_classes)
    return int((predict_images(model, pictures).cpu() != images.labels).sum())


def _flags() -> list[Flag]:
    """Return one flag for every option of any attack, as the first to describe it does."""
    flags: dict[str, Flag] = {}
    for attack in ATTACKS.values():
        annotated = get_type_hints(attack.function)
        for flag in from_signature(attack.function, *filter(annotated.get, attack.options)):
            known = flags.get(flag.name)
            if flag.kind in _KINDS and (known is None or known.help.startswith("as for ")):
                flags[flag.name] = flag
    return [
        replace(flag, help=flag.help if len(_methods(name)) == len(ATTACKS) else
                f"{', '.join(_methods(name))}: {flag.help}")
        for name, flag in flags.items()
    ]  # fmt: skip


def _methods(option: str) -> list[str]:
    """Return the attacks that take an option."""
    takers = {"eps": "eps", "head": "loss"}.get(option, option)
    return [name for name, attack in ATTACKS.items() if takers in attack.parameters]


def _options(args: argparse.Namespace) -> dict[str, Any]:
    """Return what the attack is given.

    Raises:
        InputError: for an option of other attacks.
    """
    options = typed(args, _flags())
    for name in (*options, *(name for name in ("eps", "head") if getattr(args, name) is not None)):
        methods = _methods(name)
        if args.method not in methods:
            option = name.replace("_", "-")
            raise InputError(f"--{option} is for {', '.join(methods)}, not {args.method}")
    if args.head is not None:
        options["loss"] = _HEADS[args.head]
    if "seed" in ATTACKS[args.method].parameters:
        options["seed"] = args.seed
    return options


def _sizes(images: ImageSet) -> tuple[dict[str, Any], list[str]]:
    """Return for every size the error, and the mean confidence on the errors, if there are any."""
    wrong, eps = images.facts["predicted"] != images.labels, images.facts["eps"]
    confidences = confidence_of(images.facts["scores"].double())
    errors: dict[str, float] = {}
    sure: dict[str, float | None] = {}
    lines = []
    for size in torch.unique(eps).tolist():
        here, name = eps == size, exact(size)
        errors[name] = float(wrong[here].double().mean())
        failed = confidences[wrong & here]
        sure[name] = mean = float(failed.mean()) if len(failed) else None
        words = "" if mean is None else f", mean confidence on errors {percent(mean)}"
        lines.append(f"eps {name}: error {percent(errors[name])}{words}")
    return {"errors": errors, "confidences": sure}, lines


def _distances(images: ImageSet) -> tuple[dict[str, Any], list[str]]:
    """Return the distances, [0, 1] units, within which so many images are labelled wrongly."""
    curves = budget_curves([images])
    nearest = curves.distances[0].sort().values.tolist()
    sizes = {share: nearest[math.ceil(share * len(nearest)) - 1] for share in _QUANTILES}
    quantiles = {f"{share:g}": size for share, size in sizes.items() if math.isfinite(size)}
    lines = [
        f"{float(share):.0%} of the images within {size:.4f} ({curves.norm}, [0, 1] units)"
        for share, size in quantiles.items()
    ]
    return {"norm": curves.norm, "quantiles": quantiles}, lines
