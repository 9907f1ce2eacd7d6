"""Guard: a detector before a classifier, so that junk and attacks are set aside."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from denseam.analysis.confidence import BETA_SM
from denseam.checks import image_shape as shape_of
from denseam.checks import seed_of, whole
from denseam.classifier import Classifier, check_device
from denseam.data import ImageSet
from denseam.data.arrays import square
from denseam.errors import DenseAMWarning, InputError
from denseam.fronts.preparing import Preparation, preparation_of
from denseam.guard import conformal, saving
from denseam.guard.blocks import in_chunks
from denseam.guard.calibration import ASKED, CalibratedOn, image_digests, measured
from denseam.guard.detector import Detector, NetworkDetector, detector_of
from denseam.guard.members import MEMBERS, Member, Takes, member_of
from denseam.guard.samples import Samples
from denseam.guard.scores import DEFAULT_SCORE, Score
from denseam.guard.verdict import JUNK, Reason, Verdicts
from denseam.precision import in_full_precision
from denseam.saved import restore
from denseam.showing import Drawn, Shown

_ASKED_AGAIN = 64  # images that members are shown twice: do they answer by chance?
_CHUNK = 4096  # images whose scores and labels are asked for at once
_SCORES, _DIGESTS = "calibration.scores", "calibration.digests"


class Guard(Shown, Drawn):
    """Sets junk aside, and lets a classifier label the rest (section 5, its end).

        detector is not confident         junk, label -1
        it is, and both agree             accepted
        it is, and they disagree          accepted with the classifier's label, and marked

    Whether the detector is confident is decided by one threshold on one score, which
    ``calibrate`` takes from clean images alone; ``denseam.guard.scores`` has the scores, and
    ``denseam.guard.conformal`` the promise.

    Args:
        detector: a network of denseam, by preference a dense associative memory of large power n;
            the name or file of one; or anything with ``score(visible)``, (B, N) in [-1, 1] to
            (B,), higher for more junk.
        classifier: the accurate one: a network of denseam, its name or file; an ``nn.Module``; an
            estimator with ``predict``; an ``.onnx`` file; the URL of an endpoint of the Open
            Inference Protocol; or any function of images to labels (B,) or scores (B, C).
        score: one of ``SCORES``, or several joined by "+"; a network's, other detectors have
            their own.
        beta_sm: of the score "confidence"; ``calibrate_beta`` finds a network's own.
        image_shape: (H, W); by default a square.
        n_visible: N, where the detector does not say.
        takes: how the classifier is shown images: "visible", "flat", "images" or "bytes", see
            ``denseam.guard.members``; by default its kind's usual way.
        preprocess: what to do to them after that, before the classifier.
        class_names: of the classes, in the order of the detector's, for a classifier whose labels
            are texts; an ``ImageSet`` has them. Texts of whole numbers need none.

    Raises:
        InputError: for members that are none, that do not fit each other, or another score.
        MissingPackageError: when an ONNX file needs onnxruntime.
        DataUnavailableError, FileFormatError: when a file is not there, or is none.
    """

    _figure: ClassVar[str] = "guard"

    def __init__(
        self,
        detector: object,
        classifier: object,
        *,
        score: str = DEFAULT_SCORE,
        beta_sm: float = BETA_SM,
        image_shape: tuple[int, int] | None = None,
        n_visible: int | None = None,
        takes: Takes | None = None,
        preprocess: Callable[[Tensor], Any] | None = None,
        class_names: Sequence[str] = (),
    ) -> None:
        self.detector: Detector = detector_of(detector, Score(score, beta_sm), image_shape)
        self.score = score if isinstance(self.detector, NetworkDetector) else "its own"
        image_shape = None if image_shape is None else shape_of("image_shape", image_shape)
        n_pixels = self.detector.n_visible or n_visible
        if n_pixels is None and image_shape is not None:
            n_pixels = image_shape[0] * image_shape[1]
        if n_pixels is None:
            raise InputError("n_visible: wanted the number of pixels, the detector does not say")
        self.n_visible = whole("n_visible", n_pixels)
        self.image_shape = image_shape or square(self.n_visible)
        if image_shape is not None and image_shape[0] * image_shape[1] != self.n_visible:
            raise InputError(f"image_shape = {image_shape}: the detector has {n_pixels} pixels")
        self.classifier: Member = member_of(
            classifier, takes=takes, preprocess=preprocess, shape=self.image_shape,
            class_names=class_names,
        )  # fmt: skip
        self.target_rejection: float | None = None
        self._calibration = torch.empty(0, dtype=torch.float64)  # rising scores of clean images
        self.calibrated_on: CalibratedOn | None = None  # see ``measure``
        self._digests = torch.empty(0, dtype=torch.int64)  # of the images of the calibration

    @property
    def calibrated(self) -> bool:
        """Whether there is a threshold."""
        return self.target_rejection is not None

    @property
    def n_classes(self) -> int | None:
        """C of the member that knows more classes; None where neither says."""
        known = (self.classifier.n_classes, self.detector.n_classes)
        return max((count for count in known if count is not None), default=None)

    @property
    def prompt(self) -> bool:
        """Whether both members do nothing but compute, on the CPU: nothing else holds them up."""
        return self.detector.prompt and self.classifier.prompt

    def preparation(self, **options: Any) -> Preparation:
        """Return how pictures of any size become images of this guard.

        Args:
            **options: ``invert`` and ``centre``, as ``fronts.preparing.preparation_of`` takes them.

        Raises:
            InputError: for a guard whose images have no shape.
        """
        if self.image_shape is None:
            raise InputError("the guard has no image shape: pictures cannot be made for it")
        network = getattr(self.detector, "network", None)
        return preparation_of(network, shape=self.image_shape, **options)

    @property
    def threshold(self) -> float:
        """The largest score that is accepted.

        Raises:
            InputError: before ``calibrate``.
        """
        if self.target_rejection is None:
            raise InputError("the guard is not calibrated: call calibrate(clean images) first")
        return conformal.threshold(self._calibration, self.target_rejection)

    @in_full_precision
    def calibrate(self, clean: object, target_rejection: float = 0.01, *, seed: int = 0) -> Self:
        """Set the threshold from clean images, of which no labels are needed.

        A new clean image is then rejected with probability at most ``target_rejection``, provided
        that it is exchangeable with these, on average over images and calibration sets; the exact
        words stand in ``denseam.guard.conformal``. Images that detector or classifier were trained
        on are not exchangeable with new ones: use others.

        Scores that have to be brought to a scale first, as the default one, take half of the
        images, drawn at random, for that; the threshold is taken from the other half.

        Args:
            clean: images as ``predict`` takes them.
            target_rejection: a, in (0, 1).
            seed: of the draw.

        Raises:
            InputError: for too few images for that rate, or ones that are not valid or on which no
                memory is active, or whose scores are infinite. What was calibrated before stays.
        """
        rate = conformal.check_rate(target_rejection)
        samples = self._samples(clean)
        if not samples.all_valid:
            raise InputError(
                f"{int((~samples.valid).sum())} of {len(samples)} clean images have pixels that "
                "are not finite or out of range"
            )
        halves = 2 if self.detector.needs_reference else 1
        if len(samples) < (least := halves * conformal.needed(rate)):
            raise InputError(
                f"{len(samples)} clean images cannot promise a rejection of {rate:g} with the "
                f"score {self.score}: wanted at least {least}"
            )
        generator = torch.Generator().manual_seed(seed_of(seed))
        order = torch.randperm(len(samples), generator=generator)
        reference, rest = order.tensor_split([len(order) // 2 if halves == 2 else 0])
        detector = self.detector
        if len(reference):
            detector = detector.fitted(samples.visible[reference], rate)
        scores, _ = _look(detector, samples.visible[rest])
        scores = scores.sort().values
        if conformal.threshold(scores, rate) == torch.inf:
            raise InputError(
                f"{int(scores.isposinf().sum())} of {len(scores)} clean images have an infinite "
                f"score ({detector.endless}): no threshold rejects as few as {rate:g}"
            )
        self._ask_again(detector, samples.visible[rest][:_ASKED_AGAIN])
        self.detector, self._calibration, self.target_rejection = detector, scores, rate
        self.calibrated_on, self._digests = None, image_digests(samples.visible)
        return self

    def _ask_again(self, detector: Detector, visible: Tensor) -> None:
        """Warn of members that answer by chance: the same image has no one verdict then."""
        scores, again = (_look(detector, visible)[0] for _ in range(2))
        moved = {"detector scores": int((scores != again).sum())}
        if self.classifier.module is not None:
            labels, again = (self.classifier.labels(visible) for _ in range(2))
            moved["classifier labels"] = int((labels != again).sum())
        for who, count in moved.items():
            if count:
                warnings.warn(
                    f"the {who} {count} of {len(visible)} images otherwise when asked again: a "
                    "verdict holds for one asking, and rates for the average over many",
                    DenseAMWarning,
                    stacklevel=4,
                )

    @in_full_precision
    def measure(self, clean: ImageSet) -> CalibratedOn:
        """Measure how often both members are right on the images of the calibration.

        The result is kept as ``calibrated_on``, and in the guard's file. Members that are seldom
        right are strangers to the images: then the promise holds, and is worth little.

        Args:
            clean: those images, with right labels; of more than 2000 some are drawn.

        Raises:
            InputError: for images that do not fit.
        """
        draw = torch.Generator().manual_seed(0)
        rows = torch.randperm(len(clean), generator=draw)[:ASKED]
        samples = self._samples(clean.subset(rows))
        _, detected = _look(self.detector, samples.visible)
        classified = self.classifier.labels(samples.given, samples.scale)
        self.calibrated_on = measured(clean, rows, detected.cpu(), classified.cpu())
        return self.calibrated_on

    def seen(self, images: object) -> Tensor:
        """Return which images the guard was calibrated on, (B,) bool.

        Images are compared as 8-bit pixels. A guard of a file of version 0.1 has seen none.

        Args:
            images: as ``predict`` takes them.
        """
        return torch.isin(image_digests(self._samples(images).visible), self._digests)

    @in_full_precision
    def predict(self, images: object) -> Verdicts:
        """Return a verdict on each image; none depends on the others in the batch.

        Args:
            images: an ``ImageSet``; floating (B, N) in [-1, 1]; (B, H, W) or (B, 1, H, W), floating
                in [0, 1]; or uint8. Values beyond that make that image junk, and no error.

        Raises:
            InputError: for another shape or type, or before ``calibrate``.
        """
        samples, threshold = self._samples(images), self.threshold
        scores, detector_labels = _look(self.detector, samples.visible)
        if not samples.all_valid:
            scores = scores.masked_fill(~samples.valid, torch.inf)
            detector_labels = detector_labels.masked_fill(~samples.valid, JUNK)
        accepted = scores <= threshold
        labels = self._classify(samples, accepted)
        return Verdicts(
            labels, accepted, scores, conformal.p_values(self._calibration, scores),
            detector_labels, labels.clone(),
            _reasons(samples, scores, detector_labels, labels, self.detector.endless),
        )  # fmt: skip

    def prepare(self) -> None:
        """Show both members a black image, so that what they load or find out once is done.

        What they find out depends on the thread's number of threads: call it where ``predict`` is
        going to be called.
        """
        black = torch.full((1, self.n_visible), -1.0)
        _look(self.detector, black)
        self.classifier.labels(black)

    def to_json(self) -> dict[str, Any]:
        """Return what the guard is, as plain JSON values."""
        return {
            "score": self.score,
            "target_rejection": self.target_rejection,
            "threshold": self.threshold if self.calibrated else None,
            "n_calibration": len(self._calibration),
            "n_visible": self.n_visible,
            "n_classes": self.n_classes,
            "image_shape": None if self.image_shape is None else list(self.image_shape),
            "detector": self.detector.describe(),
            "classifier": self.classifier.describe(),
        }

    def save(self, path: str | Path) -> None:
        """Write members and thresholds to one safetensors file, atomically.

        Networks of denseam are saved inside; ONNX files and endpoints as where they are, files
        with their SHA-256. Anything else, a preprocessing too, is handed to ``load`` again.

        Args:
            path: the file, ending in .safetensors; otherwise a folder, in which it is
                ``guard.safetensors``.

        Raises:
            SaveError: when it cannot be written; what stood there is untouched.
        """
        saving.write(Path(path), self._facts(), self._tensors())

    @classmethod
    def load(
        cls,
        path: str | Path,
        *,
        detector: object | None = None,
        classifier: object | None = None,
        preprocess: Callable[[Tensor], Any] | None = None,
        device: torch.device | str = "cpu",
    ) -> "Guard":
        """Read a guard written by ``save``.

        Args:
            path: the file, or its folder.
            detector: the detector, where it could not be saved.
            classifier: the classifier, where it could not be saved; or another one in its place,
                which is then shown images in its kind's usual way.
            preprocess: the classifier's, where it had one.
            device: where networks of denseam are to live.

        Raises:
            DataUnavailableError: when there is no such file, or a member's file has gone.
            FileFormatError: when it is truncated, garbled or no guard, or a member's file is not
                the one that it was.
            InputError: when a member is missing that was not saved, or the detector is another
                one than the threshold was taken from.
        """
        saved = saving.read(Path(path), check_device(device))
        with saved.whole():
            return cls._restored(saved, detector, classifier, preprocess)

    def _summary(self) -> str:
        members = (_named(each.describe()) for each in (self.detector, self.classifier))
        state = "not calibrated"
        if self.calibrated:
            state = (
                f"target_rejection={self.target_rejection:g}, threshold {self.threshold:.4g} by "
                f"{len(self._calibration)} images"
            )
        return f"{self.score} of {' before '.join(members)}, {state}, N={self.n_visible}"

    def _curves(self) -> dict[str, Any]:
        """Return the record of its figure: the scores of clean images, and the threshold."""
        return {"names": ("clean",), "scores": (self._calibration,), "threshold": self.threshold}

    def _samples(self, images: object) -> Samples:
        return Samples.of(images, self.n_visible, self.image_shape)

    def _classify(self, samples: Samples, accepted: Tensor) -> Tensor:
        """Return the classifier's labels (B,) of accepted images, shown as they were given."""
        images, rows = samples.given, accepted.nonzero()[:, 0]
        if len(rows) == len(images) <= _CHUNK:
            # A copy: it may be a buffer of somebody's own.
            return self.classifier.labels(images, samples.scale).clone()
        labels = torch.full((len(images),), JUNK)
        for part in torch.split(rows, _CHUNK):
            labels[part] = self.classifier.labels(images[part], samples.scale)
        return labels

    def _facts(self) -> dict[str, Any]:
        """Return what a file holds of the guard beside ``_tensors``, as plain JSON values."""
        detector, classifier = self.detector, self.classifier
        return {
            "score": detector.score.settings() if isinstance(detector, NetworkDetector) else None,
            "target_rejection": self.target_rejection,
            "n_visible": self.n_visible,
            "image_shape": self.image_shape and list(self.image_shape),
            "detector": {**detector.describe(), "settings": detector.settings()},
            "classifier": {
                **classifier.describe(),
                "settings": classifier.settings(),
                "preprocessed": classifier.preprocess is not None,
                **({"class_names": classifier.class_names} if classifier.class_names else {}),
            },
            "calibrated_on": None if self.calibrated_on is None else self.calibrated_on.to_json(),
        }

    def _tensors(self) -> dict[str, Tensor]:
        tensors = {f"classifier.{k}": value for k, value in self.classifier.tensors().items()}
        own = {_SCORES: self._calibration, _DIGESTS: self._digests}
        return {**own, **self.detector.tensors(), **tensors}

    @classmethod
    def _restored(
        cls,
        saved: saving.Saved,
        detector: object | None,
        classifier: object | None,
        preprocess: Callable[[Tensor], Any] | None,
    ) -> "Guard":
        """Return the guard of a file, with members that take the place of those in it."""
        facts = saved.facts
        former = {kind.kind: kind for kind in MEMBERS}[facts["classifier"]["kind"]]
        as_saved = classifier is None or not former.restorable
        detector = _restored_detector(saved) if detector is None else detector
        classifier = former.restore(saved) if classifier is None else classifier
        options: dict[str, Any] = {}
        if facts["score"] is not None:
            options = {"score": facts["score"]["name"], "beta_sm": facts["score"]["beta_sm"]}
        if not isinstance(classifier, Member):
            options["preprocess"] = preprocess
            options["class_names"] = facts["classifier"].get("class_names", ())
            if as_saved:
                options["takes"] = facts["classifier"]["takes"]
                if facts["classifier"]["preprocessed"] and preprocess is None:
                    raise InputError(
                        "the guard's classifier had a preprocessing: hand it to load again"
                    )
        guard = cls(
            detector, classifier,
            image_shape=facts["image_shape"] and tuple(map(int, facts["image_shape"])),
            n_visible=facts["n_visible"], **options,
        )  # fmt: skip
        detector_facts = {**guard.detector.describe(), "settings": guard.detector.settings()}
        for key in ("kind", "sha256", "settings"):  # the settings hold T, and what a front does
            saved_fact = facts["detector"].get(key, detector_facts.get(key))
            if not _alike(detector_facts.get(key), saved_fact):
                raise InputError(
                    f"detector: not the one that the guard was calibrated with, another {key}"
                )
        if isinstance(guard.detector, NetworkDetector):
            guard.detector.score.restore(facts["score"], saved.inside("score"))
        if facts["target_rejection"] is not None:
            guard.target_rejection = conformal.check_rate(facts["target_rejection"])
            guard._calibration = saved.tensors[_SCORES].double().sort().values
            guard.threshold  # noqa: B018 (an error here, not at the first image)
            guard._digests = saved.tensors.get(_DIGESTS, guard._digests)
            if facts.get("calibrated_on") is not None:
                guard.calibrated_on = CalibratedOn.from_json(facts["calibrated_on"])
        return guard


def _named(facts: Mapping[str, Any]) -> str:
    """Return what a member is in a few words, from its description."""
    word = str(facts.get("type") or facts.get("file") or facts.get("url") or facts["kind"])
    return f"{word}(power={facts['power']:g})" if facts.get("power") else word


def _restored_detector(saved: saving.Saved) -> Classifier:
    facts = saved.facts["detector"]
    if facts["kind"] != "network":
        raise InputError(
            f"{saved.file}: its detector, a {facts['kind']}, could not be saved: pass "
            "detector=... to Guard.load"
        )
    return restore(saved.inside("detector"), facts["settings"], saved.file).to(saved.device)


def _alike(now: Any, saved: Any) -> bool:
    """Return whether two facts of a detector are the same but for what it was trained on."""
    if isinstance(now, dict) and isinstance(saved, dict):
        now, saved = ({**facts, "trained_on": None} for facts in (now, saved))
    return bool(now == saved)


def _look(detector: Detector, visible: Tensor) -> tuple[Tensor, Tensor]:
    scores, labels = in_chunks(detector, visible, _CHUNK)
    return scores, labels


def _reasons(
    samples: Samples, scores: Tensor, detector_labels: Tensor, labels: Tensor, endless: Reason
) -> tuple[Reason | None, ...]:
    """Return why each image is junk or marked; None for the others."""
    reasons: list[Reason | None] = []
    rows = zip(samples.nonfinite.tolist(), samples.out_of_range.tolist(), scores.tolist(),
               detector_labels.tolist(), labels.tolist(), strict=True)  # fmt: skip
    for nonfinite, out_of_range, score, detected, label in rows:
        if nonfinite:
            reasons.append("nonfinite")
        elif out_of_range:
            reasons.append("out_of_range")
        elif label == JUNK:
            reasons.append(endless if score == torch.inf else "low_confidence")
        else:
            reasons.append("disagree" if detected not in (JUNK, label) else None)
    return tuple(reasons)
