"""The entrance: radii with proofs for the images of a batch."""

import math
import time
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor

from denseam.baselines import PolynomialNetwork
from denseam.certificates.bounds import BOUNDS, Proofs, Work, as_batch, bounds_for
from denseam.certificates.fields import fields_of, front_bounds
from denseam.certificates.networks import NetworkVerifier
from denseam.certificates.pairwise import Search
from denseam.certificates.result import Certificates
from denseam.certificates.verifier import Verifier
from denseam.checks import choice, whole
from denseam.classifier import Classifier
from denseam.data.validate import check_labels
from denseam.descent.batch import Progress
from denseam.errors import InputError
from denseam.precision import in_full_precision
from denseam.saved import describe_model

__all__ = ["Norm", "certify", "digest", "verify"]

Norm = Literal["l2", "linf"]
_SHRINK = (1 - 1e-6, 1 - 1e-4, 1 - 1e-2)  # where the verifier's rounding refuses a radius


@in_full_precision
def certify(
    model: Classifier,
    visible: Tensor,
    labels: Tensor | None = None,
    *,
    norm: Norm = "l2",
    bound: str = "best",
    box: bool = True,
    chunk: int = 25,
    on_progress: Progress | None = None,
) -> Certificates:
    """Return for each image a radius within which its label is proven to stay.

    A certificate holds for every image within the radius, whatever finds it, and for labels as the
    model computes them in its own dtype on a CPU. No proof is returned that the verifier has not
    accepted in float64 with errors rounded outward.

    Args:
        model: a ``DenseAM``, of any n or in the limit ``power=inf``; nearest neighbours; with
            ``bound="lipschitz"`` a ReLU or polynomial network.
        visible: (B, N) in [-1, 1]; inputs of the front, where the model has one; and whatever
            else ``as_inputs`` takes.
        labels: (B,) right classes; the model's own labels by default.
        norm: of the distance, "l2" or "linf".
        bound: a row of ``certificates.BOUNDS``; "best" takes the largest radius of those that are
            of use for the model.
        box: only images in [-1, 1] count, which is all there are: longer radii. Behind a front
            that is not known.
        chunk: images at once.
        on_progress: called with the number of images done and of all.

    Returns:
        ``Certificates``; radii are 0 where the label is wrong.

    Raises:
        InputError: for a model without a bound, a front without ``lipschitz``, or inputs that do
            not fit.

    >>> import denseam
    >>> memories = torch.tensor([[0.5, 0.5, 1.0, -1.0], [-0.5, -0.5, -1.0, 1.0]])
    >>> model = denseam.DenseAM(2, 2, 2, power=float("inf"), temperature=1.0)
    >>> model.memories.data = memories
    >>> certificates = certify(model, torch.tensor([[0.8, 0.8]]), torch.tensor([0]))
    >>> round(float(certificates.radii), 3)  # the boundary is the line v_1 + v_2 = 0
    1.131
    """
    start = time.perf_counter()
    choice("norm", norm, get_args(Norm))
    choice("bound", bound, ("best", *BOUNDS))
    whole("chunk", chunk)
    visible = model.as_inputs(visible)
    predicted = model.predict(visible)
    labels = predicted if labels is None else labels
    check_labels(labels, model.n_classes, len(visible))
    prover = _Prover(model, norm, bound, box=box)
    with torch.no_grad():
        inside = model.visible(visible).cpu()
    labels, predicted = labels.cpu(), predicted.cpu()
    proofs: list[dict[str, Any] | None] = [None] * len(labels)
    right = (predicted == labels).nonzero().flatten()
    for part in torch.split(right, chunk):
        for i, proof in zip(part.tolist(), prover(inside[part], labels[part]), strict=True):
            proofs[i] = proof if proof["radius"] > 0 else None
        if on_progress is not None:
            on_progress(int(part[-1]) + 1, len(labels))
    radii = torch.tensor([0.0 if p is None else p["radius"] for p in proofs], dtype=torch.float64)
    return Certificates(
        prover.before_front(radii), labels, predicted, norm, prover.box, tuple(proofs),
        digest(model), time.perf_counter() - start,
    )  # fmt: skip


def verify(model: Classifier, visible: Tensor, certificates: Certificates) -> Tensor:
    """Return for each image (B, N) whether its proof holds, (B,) bool; True where it claims 0.

    Raises:
        InputError: for another number of images, or a model without fields.
    """
    if len(visible) != len(certificates):
        raise InputError(f"{len(visible)} images and {len(certificates)} certificates")
    prover = _Prover(model, certificates.norm, "best", box=certificates.box)
    with torch.no_grad():
        inside = np.asarray(model.visible(model.as_inputs(visible)).double().cpu())
    claims = certificates.radii * prover.lengthens + 2 * prover.rounding
    holds = certificates.radii == 0
    rows = (~holds).nonzero().flatten().tolist()
    for i in rows:
        proof, label = certificates.proofs[i], int(certificates.labels[i])
        fits = proof is not None and 0 < float(claims[i]) <= proof["radius"] * (1 + 1e-12)
        holds[i] = fits and prover.verifier(inside[[i]], [label], [proof])[0]
    return holds


def digest(model: Classifier) -> str:
    """Return the SHA-256 of a model; empty for one whose front no file can hold."""
    try:
        return str(describe_model(model)["sha256"])
    except InputError:
        return ""


class _Prover:
    """The proofs of one model."""

    verifier: Verifier | NetworkVerifier

    def __init__(self, model: Classifier, norm: str, bound: str, *, box: bool) -> None:
        bounds = front_bounds(model.front)
        self.lengthens, self.rounding = bounds or (1.0, 0.0)
        self.box = box and bounds is None
        if norm == "linf" and bounds is not None:
            raise InputError("a front keeps L2 distances, not Linf ones: wanted norm='l2'")
        self.most = 2 * model.n_visible**0.5 if norm == "l2" else 2.0  # across [-1, 1]^N
        if isinstance(model, PolynomialNetwork):
            if bound not in ("best", "lipschitz"):
                raise InputError(f"bound={bound!r}: networks of one layer have 'lipschitz' alone")
            self.verifier = NetworkVerifier(model, norm)
            return
        fields = fields_of(model, box=self.box)
        self.verifier = Verifier(fields, norm, box=self.box)
        self.work = Work(Search(fields, norm), self.verifier, self.box)
        self.bounds = bounds_for(fields, bound)
        for name in self.bounds:
            if not BOUNDS[name].serves(fields):
                raise InputError(f"bound={name!r} ({BOUNDS[name].title}) is not for this energy")

    def before_front(self, radii: Tensor) -> Tensor:
        """Return radii (B,) of the model's inputs for radii behind its front.

        Both the image and its neighbours reach the memories with the rounding of the front.
        """
        return (radii - 2 * self.rounding).clamp(min=0) / self.lengthens * (1 - 2.0**-50)

    def __call__(self, visible: Tensor, labels: Tensor) -> Proofs:
        """Return verified proofs of images (B, N) of classes (B,)."""
        v, y = np.asarray(visible.double()), labels.numpy()
        if isinstance(self.verifier, NetworkVerifier):
            radii = np.clip(self.verifier.radii(v, y) * (1 - 1e-9), 0, self.most)
            return [{"bound": "lipschitz", "radius": float(r)} for r in radii]
        best: Proofs = [{"bound": self.bounds[0], "radius": 0.0} for _ in labels]
        for name in self.bounds:
            proofs = BOUNDS[name].find(self.work, visible, labels)
            self._check(v, y, proofs)
            best = [max(pair, key=lambda p: p["radius"]) for pair in zip(best, proofs, strict=True)]
        return best

    def _check(self, v: Any, y: Any, proofs: Proofs) -> None:
        """Set to 0 what the verifier does not accept, after a few smaller radii."""
        for proof, radius in zip(
            proofs, as_batch(proofs).clamp(0, self.most).tolist(), strict=True
        ):
            proof["radius"] = 0.0 if math.isnan(radius) else radius
        for shrink in _SHRINK:
            holds = self.verifier(v, y, proofs)
            if all(holds):
                return
            for proof, true in zip(proofs, holds, strict=True):
                proof["radius"] *= 1.0 if true else shrink
        for proof, true in zip(proofs, self.verifier(v, y, proofs), strict=True):
            proof["radius"] = proof["radius"] if true else 0.0
