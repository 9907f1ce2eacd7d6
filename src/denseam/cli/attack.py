"""`denseam attack`: along signs of the gradient, or by the shortest way."""

import argparse
import math
from typing import Any, get_args

import torch

from denseam.analysis import confidence_of
from denseam.checks import exact
from denseam.classifier import Classifier
from denseam.cli.common import add_command, add_images, add_model, chosen_images, percent
from denseam.cli.sets import add_output, given_options, making, report
from denseam.data import ImageSet
from denseam.descent import attack_set, minimum_set
from denseam.descent.loop import Norm
from denseam.descent.sets import Method
from denseam.descent.sign import Loss
from denseam.errors import InputError
from denseam.figures import budget, sign
from denseam.figures.records import budget_curves, sign_curves
from denseam.pretrained import load_any

_OPTIONS = ("loss", "loss_power")
_HEADS = {"tanh": "objective", "log_energy": "cross_entropy"}  # and their losses
_ITERATIVE = ("steps", "step")
_SHORTEST = ("norm", "rounds")
_SIZES = (0.1, 0.2, 0.3, 0.4, 0.5)
_SHARES = (0.1, 0.25, 0.5, 0.75, 0.9)  # of the images


def add_to(commands: Any) -> None:
    """Declare the command."""
    parser = add_command(
        commands,
        "attack",
        "attack a model along signs of its gradient, or by the shortest way",
        "Section 6 of the paper: one step (fgsm), many small ones (bim), or many towards the\n"
        "least likely class (llc). Directions are exact, also where tanh has saturated. Sizes are\n"
        "Linf in visible units, where black and white are 2 apart. minimum finds the nearest\n"
        "image, in L2 or Linf, that is labelled otherwise. Interrupt it when you like: the same\n"
        "command goes on.",
        """
denseam attack mnist-n30 --method fgsm --eps 0.3 --out fgsm.safetensors
denseam attack mnist-n2 --method fgsm --eps 0 0.1 0.2 0.3 0.4 0.5 --out n2.npz --figure fig8.png
denseam attack mnist-n20 --method bim --steps 20 --head log_energy --eps 0.2 --out bim.safetensors
denseam attack runs/n20 --method llc --eps 0.2 --out llc.safetensors --grid llc.png
denseam attack mnist-n30 --method minimum --norm l2 --out near.safetensors --figure budget.png
""",
    )
    add_model(parser)
    methods = [*get_args(Method), "minimum"]
    parser.add_argument("--method", choices=methods, required=True, help="which")
    parser.add_argument("--eps", type=float, nargs="+",
                        help="Linf sizes; 0 is the clean image (default: 0.1 to 0.5)")  # fmt: skip
    add_images(parser, count=1000)
    add_output(
        parser, "error and confidence on errors against eps (Fig. 8), or, of minimum, accuracy "
        "against distance",
    )  # fmt: skip
    way = parser.add_argument_group("the way")
    loss = way.add_mutually_exclusive_group()
    loss.add_argument("--head", choices=_HEADS, help="what is attacked: the paper's C on Y, or "
                      "cross-entropy on the log-energy (default: tanh)")  # fmt: skip
    loss.add_argument("--loss", choices=get_args(Loss), help="the same, and margin: C on Y is "
                      "objective, the other two are on the log-energy")  # fmt: skip
    way.add_argument("--loss-power", type=float, help="m (default: 4, from n = 10 on 30)")
    way.add_argument("--steps", type=int, help="of bim and llc (default: 10)")
    way.add_argument("--step", type=float, help="length of one (default: eps / steps)")
    way.add_argument("--norm", choices=get_args(Norm), help="of minimum (default: l2)")
    way.add_argument("--rounds", type=int, help="of minimum: gradients on each way (default: 10)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Make the set, draw, report."""
    _check_options(args)
    args.loss = _HEADS.get(args.head, args.loss)
    model, images = load_any(args.model, device=args.device), chosen_images(args)
    if args.method == "minimum":
        return _minimum(args, model, images)
    with making(args) as work:
        made = attack_set(
            model, images, args.method, args.eps or _SIZES, args.out, chunk=args.chunk,
            on_progress=work.bar, shared=work.shared, **given_options(args, *_OPTIONS, *_ITERATIVE),
        )  # fmt: skip
        if args.figure is not None:
            sign.save(sign_curves([made]), args.figure)
    errors, sure = _by_size(made)
    lines = [f"eps {size}: error {percent(errors[size])}{_words(sure[size])}" for size in errors]
    report(made, args, {"errors": errors, "confidences": sure}, lines, "are labelled wrongly")
    return 0


def _minimum(args: argparse.Namespace, model: Classifier, images: ImageSet) -> int:
    options = given_options(args, *_SHORTEST)
    with making(args) as work:
        made = minimum_set(
            model, images, args.out, chunk=args.chunk, on_progress=work.bar, shared=work.shared,
            **options,
        )  # fmt: skip
        curves = budget_curves([made])
        if args.figure is not None:
            budget.save(curves, args.figure)
    nearest = curves.distances[0].sort().values.tolist()
    sizes = {share: nearest[math.ceil(share * len(nearest)) - 1] for share in _SHARES}
    needed = {f"{share:g}": size for share, size in sizes.items() if math.isfinite(size)}
    lines = [
        f"{float(share):.0%} of the images within {size:.4f} ({curves.norm}, [0, 1] units)"
        for share, size in needed.items()
    ]
    report(made, args, {"norm": curves.norm, "quantiles": needed}, lines, "are labelled wrongly")
    return 0


def _check_options(args: argparse.Namespace) -> None:
    """InputError for options of another method, which would be ignored."""
    of_methods = {
        "eps": ("fgsm", "bim", "llc"),
        "head": ("fgsm", "bim", "llc"),
        **dict.fromkeys(_OPTIONS, ("fgsm", "bim", "llc")),
        **dict.fromkeys(_ITERATIVE, ("bim", "llc")),
        **dict.fromkeys(_SHORTEST, ("minimum",)),
    }
    for name, methods in of_methods.items():
        if getattr(args, name) is not None and args.method not in methods:
            raise InputError(
                f"--{name.replace('_', '-')} is for {', '.join(methods)}, not {args.method}"
            )


def _by_size(made: ImageSet) -> tuple[dict[str, float], dict[str, float | None]]:
    """For every size the error, and the mean confidence on the errors, if there are any."""
    wrong, eps = made.facts["predicted"] != made.labels, made.facts["eps"]
    confidences = confidence_of(made.facts["scores"].double())
    errors: dict[str, float] = {}
    sure: dict[str, float | None] = {}
    for size in torch.unique(eps).tolist():
        here, name = eps == size, exact(size)
        errors[name] = float(wrong[here].double().mean())
        failed = confidences[wrong & here]
        sure[name] = float(failed.mean()) if len(failed) else None
    return errors, sure


def _words(confidence: float | None) -> str:
    return "" if confidence is None else f", mean confidence on errors {percent(confidence)}"
