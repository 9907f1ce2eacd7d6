"""Verdicts of a guard: one `Verdict` for each image, `Verdicts` for a batch."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, ClassVar, Literal, get_args, overload

import torch
from torch import Tensor

from denseam.errors import InputError
from denseam.showing import Drawn, Shown, Tabular

Reason = Literal["low_confidence", "no_active_memory", "disagree", "nonfinite", "out_of_range"]
REASONS: tuple[Reason, ...] = get_args(Reason)
"""Why an image is junk; "disagree" is also said of an accepted one, see ``Verdict``."""

JUNK = -1
"""The label of an image that was set aside, and the place of a label that was not asked for."""


@dataclass(frozen=True)
class Verdict:
    """The verdict of a guard on one image.

    Attributes:
        label: the classifier's, or -1 for junk.
        accepted: whether the image goes through.
        score: how much it looks like junk; infinite where the detector could not look at all.
        p_value: the share of clean images that look at least as much like junk, the image itself
            counted as one; junk where it is at most the target rejection.
        detector_label: the detector's, -1 where it has none.
        classifier_label: the classifier's, -1 where it was not asked: only accepted images go on.
        reason: why it is junk; "disagree" where it is accepted although the detector has another
            label; None for an image on which both agree.
    """

    label: int
    accepted: bool
    score: float
    p_value: float
    detector_label: int
    classifier_label: int
    reason: Reason | None

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values; null for a number that is not finite."""
        return {field.name: _plain(getattr(self, field.name)) for field in fields(self)}


@dataclass(frozen=True, eq=False, repr=False)
class Verdicts(Shown, Drawn, Tabular, Sequence[Verdict]):
    """Verdicts on a batch: a sequence of `Verdict`, and the same as tensors on the CPU.

    Attributes:
        labels: (B,) int64, -1 for junk.
        accepted: (B,) bool.
        scores: (B,) float64, higher for more junk.
        p_values: (B,) float64.
        detector_labels: (B,) int64, -1 where it has none.
        classifier_labels: (B,) int64, -1 where it was not asked.
        reasons: B of REASONS, or None.

    Raises:
        InputError: when their lengths differ.
    """

    _figure: ClassVar[str] = "guard"

    labels: Tensor
    accepted: Tensor
    scores: Tensor
    p_values: Tensor
    detector_labels: Tensor
    classifier_labels: Tensor
    reasons: tuple[Reason | None, ...]

    def __post_init__(self) -> None:
        lengths = {field.name: len(getattr(self, field.name)) for field in fields(self)}
        if len(set(lengths.values())) > 1:
            raise InputError(f"verdicts of different lengths: {lengths}")

    def __len__(self) -> int:
        return len(self.reasons)

    @overload
    def __getitem__(self, index: int) -> Verdict: ...
    @overload
    def __getitem__(self, index: slice) -> "Verdicts": ...
    def __getitem__(self, index: int | slice) -> "Verdict | Verdicts":
        if isinstance(index, slice):
            return Verdicts(**{field.name: getattr(self, field.name)[index]
                               for field in fields(self)})  # fmt: skip
        return Verdict(**{name: column[index] for name, column in self.columns.items()})

    @cached_property
    def columns(self) -> dict[str, list[Any]]:
        """The columns by the names of `Verdict`, as lists of B plain values."""
        tensors = [getattr(self, field.name) for field in fields(self)[:-1]]
        lists = [*(tensor.tolist() for tensor in tensors), [*self.reasons]]
        return {field.name: one for field, one in zip(fields(Verdict), lists, strict=True)}

    def _summary(self) -> str:
        return f"{len(self)} images, {self.n_rejected} junk"

    def _columns(self) -> dict[str, list[Any]]:
        return self.columns

    def _curves(self) -> dict[str, Any]:
        """Return the record of their figure: accepted and junk scores, the threshold between."""
        sides = {"accepted": self.scores[self.accepted], "junk": self.scores[~self.accepted]}
        finite = {name: each for name, each in sides.items() if bool(each.isfinite().any())}
        if not finite:
            raise InputError("no image has a finite score: nothing to draw")
        least = min(float(each[each.isfinite()].min()) for each in finite.values())
        threshold = float(finite["accepted"].max()) if "accepted" in finite else least
        return {"names": (*finite,), "scores": (*finite.values(),), "threshold": threshold}

    @property
    def n_rejected(self) -> int:
        """The number of images that are junk."""
        return self.columns["accepted"].count(False)

    def reason_counts(self) -> dict[Reason, int]:
        """Return the number of images for each reason that occurs, "disagree" among them."""
        return {reason: self.reasons.count(reason) for reason in REASONS if reason in self.reasons}

    def to_json(self) -> list[dict[str, Any]]:
        """Return each `Verdict` as plain JSON values."""
        return [verdict.to_json() for verdict in self]

    @staticmethod
    def concatenate(parts: "Sequence[Verdicts]") -> "Verdicts":
        """Join the verdicts on consecutive parts of a batch.

        Raises:
            InputError: when there is no part.
        """
        if not parts:
            raise InputError("verdicts of no part: wanted at least one")
        columns = {field.name: [getattr(part, field.name) for part in parts]
                   for field in fields(Verdicts)}  # fmt: skip
        reasons = tuple(reason for part in columns.pop("reasons") for reason in part)
        return Verdicts(**{name: torch.cat(each) for name, each in columns.items()},
                        reasons=reasons)  # fmt: skip


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
