"""Options made from fields and parameters: names, types, defaults, choices and help."""

import argparse
import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import pytest

from denseam.cli.flags import add_flags, described, from_fields, from_signature, typed

Norm = Literal["l2", "linf"]


def attack(
    model: object,
    eps: float | Sequence[float],
    *,
    max_steps: int = 1000,
    step: float = 0.05,
    loss_power: float | None = None,
    norm: Norm = "l2",
    clip: bool = True,
    converge: bool = False,
) -> None:
    """Attack a model.

    Args:
        model: any.
        eps: sizes, up to 100 % of the range.
        max_steps: most steps
            of an image.
        step, loss_power: one length
            for both.
        norm: of a step.
        clip: leave pixels where they go.
        converge: go on.

    Returns:
        max_steps: nothing of the kind.
    """


@dataclass(frozen=True)
class Settings:
    """A dataclass.

    Attributes:
        network: which.
        n_memories: K.
    """

    network: str = field(metadata={"choices": ("dam", "relu"), "option": "model"})
    n_memories: int = 2000


NAMES = ("eps", "max_steps", "step", "loss_power", "norm", "clip", "converge")


def parser_of(flags):
    parser = argparse.ArgumentParser(exit_on_error=False)
    add_flags(parser, flags)
    return parser


def test_what_is_typed_reaches_the_parameters_with_their_types():
    flags = from_signature(attack, *NAMES)
    line = "--eps 0.1 1 --max-steps 3 --step 2 --loss-power 4 --norm linf --no-clip --converge"
    assert typed(parser_of(flags).parse_args(line.split()), flags) == {
        "eps": [0.1, 1.0], "max_steps": 3, "step": 2.0, "loss_power": 4.0, "norm": "linf",
        "clip": False, "converge": True,
    }  # fmt: skip


def test_what_is_not_typed_is_left_to_the_function():
    flags = from_signature(attack, *NAMES)
    assert typed(parser_of(flags).parse_args([]), flags) == {}


def test_help_is_the_docstring_and_the_default():
    text = " ".join(parser_of(from_signature(attack, *NAMES)).format_help().split())
    for expected in (
        "--eps EPS [EPS ...] sizes, up to 100 % of the range --max-steps",
        "most steps of an image (default: 1000)",
        "--step STEP one length for both (default: 0.05)",
        "--loss-power LOSS_POWER one length for both --norm",
        "--norm {l2,linf} of a step (default: l2)",
        "--no-clip leave pixels where they go --converge go on",
    ):
        assert expected in text


def test_a_field_may_have_an_option_of_another_name_and_choices():
    flags = from_fields(Settings)
    parser = parser_of(flags)
    assert typed(parser.parse_args(["--model", "relu"]), flags) == {"network": "relu"}
    with pytest.raises(argparse.ArgumentError, match="invalid choice: 'svm'"):
        parser.parse_args(["--model", "svm"])
    (only,) = from_fields(Settings, "n_memories")
    assert (only.name, only.option, only.default, only.help) == (
        "n_memories",
        "n-memories",
        2000,
        "K",
    )
    assert dataclasses.replace(only, help="neurons").help == "neurons"


def test_described_stops_at_the_end_of_the_section():
    assert described(attack)["max_steps"] == "most steps of an image"
    assert described(test_described_stops_at_the_end_of_the_section) == {}
