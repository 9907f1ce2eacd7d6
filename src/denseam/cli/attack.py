"""`denseam attack`"""

import argparse
from typing import Any, get_args

import torch

from denseam.analysis import confidence_of
from denseam.cli.common import add_command, add_images, add_model, chosen_images, percent
from denseam.cli.sets import add_output, given_options, making, report
from denseam.data import ImageSet
from denseam.descent import attack_set
from denseam.descent.sets import Method
from denseam.descent.sign import Loss
from denseam.errors import InputError
from denseam.figures import sign
from denseam.figures.records import sign_curves
from denseam.pretrained import load_any

_OPTIONS = ("loss", "loss_power")
_HEADS = {"tanh": "objective", "log_energy": "cross_entropy"}  # and their losses
_ITERATIVE = ("steps", "step")


def add_to(commands: Any) -> None:
    """Declare the command."""
    parser = add_command(
        commands,
        "attack",
        "attack a model along signs of its gradient",
        "Section 6 of the paper: one step (fgsm), many small ones (bim), or many towards the\n"
        "least likely class (llc). Directions are exact, also where tanh has saturated. Sizes are\n"
        "Linf in visible units, where black and white are 2 apart. Interrupt it when you like:\n"
        "the same command goes on.",
        """
denseam attack mnist-n30 --method fgsm --eps 0.3 --out fgsm.safetensors
denseam attack mnist-n2 --method fgsm --eps 0 0.1 0.2 0.3 0.4 0.5 --out n2.npz --figure fig8.png
denseam attack mnist-n20 --method bim --steps 20 --head log_energy --eps 0.2 --out bim.safetensors
denseam attack runs/n20 --method llc --eps 0.2 --out llc.safetensors --grid llc.png
""",
    )
    add_model(parser)
    parser.add_argument("--method", choices=get_args(Method), required=True, help="which")
    parser.add_argument("--eps", type=float, nargs="+", default=[0.1, 0.2, 0.3, 0.4, 0.5],
                        help="Linf sizes; 0 is the clean image (default: 0.1 to 0.5)")  # fmt: skip
    add_images(parser, count=1000)
    add_output(parser, "error and confidence on errors against eps (Fig. 8)")
    way = parser.add_argument_group("the way")
    loss = way.add_mutually_exclusive_group()
    loss.add_argument("--head", choices=_HEADS, help="what is attacked: the paper's C on Y, or "
                      "cross-entropy on the log-energy (default: tanh)")  # fmt: skip
    loss.add_argument("--loss", choices=get_args(Loss), help="the same, and margin: C on Y is "
                      "objective, the other two are on the log-energy")  # fmt: skip
    way.add_argument("--loss-power", type=float, help="m (default: 4, from n = 10 on 30)")
    way.add_argument("--steps", type=int, help="of bim and llc (default: 10)")
    way.add_argument("--step", type=float, help="length of one (default: eps / steps)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Make the set, draw, report."""
    iterative = given_options(args, *_ITERATIVE)
    if args.method == "fgsm" and iterative:
        raise InputError(
            f"--{next(iter(iterative))} is for bim and llc: fgsm takes one step of eps"
        )
    args.loss = _HEADS.get(args.head, args.loss)
    model, images = load_any(args.model, device=args.device), chosen_images(args)
    with making(args) as bar:
        made = attack_set(
            model, images, args.method, args.eps, args.out, chunk=args.chunk, on_progress=bar,
            **given_options(args, *_OPTIONS), **iterative,
        )  # fmt: skip
        if args.figure is not None:
            sign.save(sign_curves([made]), args.figure)
    errors, sure = _by_size(made)
    lines = [f"eps {size}: error {percent(errors[size])}{_words(sure[size])}" for size in errors]
    report(made, args, {"errors": errors, "confidences": sure}, lines, "are labelled wrongly")
    return 0


def _by_size(made: ImageSet) -> tuple[dict[str, float], dict[str, float | None]]:
    """For every size the error, and the mean confidence on the errors, if there are any."""
    wrong, eps = made.facts["predicted"] != made.labels, made.facts["eps"]
    confidences = confidence_of(made.facts["scores"].double())
    errors: dict[str, float] = {}
    sure: dict[str, float | None] = {}
    for size in torch.unique(eps).tolist():
        here, name = eps == size, f"{size:g}"
        errors[name] = float(wrong[here].double().mean())
        failed = confidences[wrong & here]
        sure[name] = float(failed.mean()) if len(failed) else None
    return errors, sure


def _words(confidence: float | None) -> str:
    return "" if confidence is None else f", mean confidence on errors {percent(confidence)}"
