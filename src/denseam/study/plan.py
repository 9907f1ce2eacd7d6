"""Sizes of a study: the whole one, or a quick one whose every number says so."""

from dataclasses import asdict, dataclass, replace
from typing import Any

from denseam.data import ImageSet


@dataclass(frozen=True)
class Plan:
    """Sizes and settings of all stages.

    The whole study has the paper's sizes: every test image crosses the boundary and is moved by
    sign-of-gradient steps, 100 rubbish images of every class are made by every model.
    """

    quick: bool = False
    boundary_images: int = 10_000  # of the test set, from its beginning
    sign_images: int = 10_000  # one step
    iterative_images: int = 1000  # BIM and LLC
    iterative_steps: int = 10
    eps: tuple[float, ...] = tuple(round(0.05 * i, 2) for i in range(11))  # visible units
    rubbish_per_class: int = 100
    rubbish_noise: tuple[float, ...] = (0.1, 0.316)  # deviations: N(0, 0.1) read in two ways
    rubbish_step: float = 0.1
    rubbish_max_steps: int = 1000
    reference_images: int = 60_000  # training images that memories are compared with
    shown_memories: int = 25
    audit_images: int = 100
    audit_eps: float = 0.2
    audit_queries: int = 300
    network_images: int = 500  # of section 7: one step
    distance_images: int = 50  # nearest wrong images, boundary images
    seed: int = 0

    @classmethod
    def smaller(cls) -> "Plan":
        """Return the quick plan: about a tenth of the images, the same procedures."""
        return cls(
            quick=True, boundary_images=1000, sign_images=1000, iterative_images=200,
            rubbish_per_class=10, reference_images=10_000, audit_images=20,
            network_images=200, distance_images=20,
        )  # fmt: skip

    def fitted(self, train: ImageSet, test: ImageSet, *, seed: int = 0) -> "Plan":
        """Return this plan with another seed, and no more images than there are."""
        of_test = ("boundary", "sign", "iterative", "audit", "network", "distance")
        fewer = {
            f"{name}_images": min(getattr(self, f"{name}_images"), len(test)) for name in of_test
        }
        reference = min(self.reference_images, len(train))
        return replace(self, **fewer, reference_images=reference, seed=seed)

    def note(self) -> str | None:
        """Return a sentence on what is smaller than in the whole study; None for a whole one."""
        if not self.quick:
            return None
        return (
            f"A quick study: {self.boundary_images} boundary images instead of 10,000, "
            f"{self.rubbish_per_class} rubbish images per class instead of 100, "
            f"{self.sign_images} images for one-step attacks instead of 10,000 and "
            f"{self.iterative_images} for iterative ones instead of 1000. The procedures are the "
            "same, the intervals wider."
        )

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)
