"""Sizes of the study of memories, and of `denseam capacity`."""

from dataclasses import asdict, dataclass, replace
from typing import Any


@dataclass(frozen=True)
class MemoryPlan:
    """Sizes of all experiments on what memories hold.

    Attributes:
        powers: the n whose capacity is measured.
        bits: looked at for each load; the interval falls with their square root.
        largest: neurons of the transition at n = 2.
        states: that the dynamics follow for each load.
        dimensions: of patterns on a sphere.
        digits: MNIST images that are stored.
        probes: of those, covered and retrieved.
        seed: of everything random.
    """

    quick: bool = False
    powers: tuple[int, ...] = (2, 3, 4)
    bits: int = 12_000
    largest: int = 500
    states: int = 60
    dimensions: tuple[int, ...] = (4, 6, 8, 10, 12)
    digits: int = 2000
    probes: int = 500
    seed: int = 0

    @classmethod
    def smaller(cls) -> "MemoryPlan":
        """Return the quick plan: the same experiments, fewer bits and states."""
        return cls(quick=True, bits=5000, largest=200, states=30, dimensions=(4, 6, 8, 10),
                   probes=100)  # fmt: skip

    def of(self, **values: Any) -> "MemoryPlan":
        """Return this plan with other values."""
        return replace(self, **values)

    def neurons(self, n: int) -> tuple[int, ...]:
        """Return the numbers of neurons at which a power's capacity is measured."""
        sizes = {2: (200, 400, 800), 3: (64, 100, 160), 4: (24, 34, 48)}
        return sizes.get(n, (16, 20, 26))

    def note(self) -> str | None:
        """Return a sentence on what is smaller than in the whole study; None for a whole one."""
        if not self.quick:
            return None
        return (
            f"A quick study: {self.bits} bits for each load instead of 12,000, {self.probes} "
            "digits instead of 500. The procedures are the same, the intervals wider."
        )

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)
