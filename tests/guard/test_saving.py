"""Guards as files: nothing is lost, nothing is unpickled, damage is noticed."""

import json
from pathlib import Path

import pytest
import torch

from denseam import Guard, baselines
from denseam.errors import DataUnavailableError, FileFormatError, InputError, SaveError
from denseam.guard.saving import FILE
from denseam.interop import export_onnx

from . import small


def same(first, second):
    images = torch.cat([small.clean(40, seed=4).visible(), torch.zeros(3, small.N)])
    assert list(first.predict(images)) == list(second.predict(images))
    assert first.to_json() == second.to_json()


@pytest.mark.parametrize("score", ["gap", "profile", "pixels", "gap+log_energy", "margin+profile"])
def test_nothing_is_lost(tmp_path, score):
    guard = small.guard(score)
    guard.save(tmp_path / "guard")
    assert [p.name for p in (tmp_path / "guard").iterdir()] == [FILE]
    same(Guard.load(tmp_path / "guard"), guard)
    guard.save(tmp_path / "one.safetensors")
    same(Guard.load(tmp_path / "one.safetensors"), guard)


def test_beta_and_one_network_as_both_members(tmp_path):
    model = small.memories(dtype=torch.float64)
    guard = Guard(model, model, score="confidence", beta_sm=26.0, image_shape=small.SHAPE)
    guard.calibrate(small.clean(), 0.05).save(tmp_path)
    again = Guard.load(tmp_path)
    assert again.detector.score.beta_sm == 26.0
    assert again.classifier.network.memories.dtype == torch.float64
    same(again, guard)


def test_other_networks(tmp_path):
    clean = small.clean()
    nearest = baselines.NearestNeighbour.of(clean)
    binarised = baselines.Binarised(small.memories())
    guard = Guard(nearest, binarised, score="margin", image_shape=small.SHAPE)
    guard.calibrate(clean, 0.05).save(tmp_path)
    same(Guard.load(tmp_path), guard)


def test_a_guard_that_is_not_calibrated(tmp_path):
    Guard(small.memories(), small.memories()).save(tmp_path)
    assert not Guard.load(tmp_path).calibrated


def test_an_onnx_file_is_found_again(tmp_path):
    path = tmp_path / "c.onnx"
    export_onnx(small.memories(), path, shape=small.SHAPE)
    guard = Guard(small.memories(), path, image_shape=small.SHAPE).calibrate(small.clean(), 0.05)
    guard.save(tmp_path / "g")
    same(Guard.load(tmp_path / "g"), guard)
    export_onnx(small.memories(seed=5), path, shape=small.SHAPE)
    with pytest.raises(FileFormatError, match="not the classifier"):
        Guard.load(tmp_path / "g")
    path.unlink()
    with pytest.raises(DataUnavailableError, match="no longer there"):
        Guard.load(tmp_path / "g")
    assert Guard.load(tmp_path / "g", classifier=small.memories()).calibrated


def test_weights_in_another_file_are_part_of_an_onnx_classifier(tmp_path):
    import onnx

    path, weights = tmp_path / "c.onnx", tmp_path / "weights.bin"
    export_onnx(small.memories(), path, shape=small.SHAPE)
    onnx.save(
        onnx.load(path), path, save_as_external_data=True, location=weights.name, size_threshold=99
    )
    guard = Guard(small.memories(), path, image_shape=small.SHAPE).calibrate(small.clean(), 0.05)
    assert set(guard.to_json()["classifier"]["weights"]) == {weights.name}
    guard.save(tmp_path / "g")
    same(Guard.load(tmp_path / "g"), guard)
    weights.write_bytes(weights.read_bytes()[:-4] + b"\0\0\0\1")
    with pytest.raises(FileFormatError, match=r"weights.bin has changed: .*not the classifier"):
        Guard.load(tmp_path / "g")
    weights.unlink()
    with pytest.raises(FileFormatError, match=r"weights.bin is no longer there: .*not the class"):
        Guard.load(tmp_path / "g")


@pytest.mark.parametrize("key", ["sha256", "settings"])
def test_another_detector_is_refused_also_with_the_same_memories(tmp_path, key):
    """Scores depend on the temperature, and on what a front does."""
    small.guard("gap").save(tmp_path)
    other = small.memories()
    assert Guard.load(tmp_path, detector=small.memories()).calibrated
    if key == "settings":
        other.temperature = 5.0
    else:
        other.memories.data *= 0.5
    with pytest.raises(InputError, match=f"not the one .*another {key}"):
        Guard.load(tmp_path, detector=other)


def test_a_guard_of_version_0_1_is_read():
    """Made by 0.1 as ``small.guard("margin+profile")`` is."""
    old = Guard.load(Path(__file__).parent / "guard-0.1.safetensors")
    new = small.guard("margin+profile")
    facts, expected = old.to_json(), new.to_json()
    assert facts.pop("threshold") == pytest.approx(expected.pop("threshold"))
    assert facts == expected
    images = small.clean(40, seed=4)
    torch.testing.assert_close(old.predict(images).scores, new.predict(images).scores)
    assert torch.equal(old.predict(images).labels, new.predict(images).labels)


def test_what_cannot_be_saved_is_handed_over(tmp_path):
    def classify(images):
        return torch.zeros(len(images), dtype=torch.int64)

    def score(visible):
        return visible.mean(dim=1)

    guard = Guard(score, classify, image_shape=small.SHAPE, takes="bytes", preprocess=torch.neg)
    guard.calibrate(small.clean(), 0.05).save(tmp_path)
    with pytest.raises(InputError, match="pass detector="):
        Guard.load(tmp_path, classifier=classify, preprocess=torch.neg)
    with pytest.raises(InputError, match="pass classifier="):
        Guard.load(tmp_path, detector=score)
    with pytest.raises(InputError, match="preprocessing"):
        Guard.load(tmp_path, detector=score, classifier=classify)
    again = Guard.load(tmp_path, detector=score, classifier=classify, preprocess=torch.neg)
    assert again.classifier.takes == "bytes"
    same(again, guard)


def test_another_classifier_and_no_other_detector(tmp_path):
    small.guard().save(tmp_path)
    seen = []

    def classify(images):
        seen.append(images.shape[1:])
        return torch.ones(len(images), dtype=torch.int64)

    found = Guard.load(tmp_path, classifier=classify).predict(small.clean(9, seed=4))
    assert set(found.labels[found.accepted].tolist()) == {1}
    assert seen == [(1, *small.SHAPE)]
    same(Guard.load(tmp_path, detector=small.memories()), small.guard())
    for detector in (small.memories(seed=3), lambda visible: visible.mean(dim=1)):
        with pytest.raises(InputError, match="calibrated with"):
            Guard.load(tmp_path, detector=detector)


def test_damage_is_noticed(tmp_path):
    small.guard().save(tmp_path)
    file = tmp_path / FILE
    whole = file.read_bytes()
    other = whole.replace(b'target_rejection\\": 0.05', b'target_rejection\\": 0.06')
    for bad in (whole[: len(whole) // 2], b"", whole[:-8] + b"\0" * 8, other):
        assert bad != whole
        file.write_bytes(bad)
        with pytest.raises(FileFormatError):
            Guard.load(tmp_path)
    with pytest.raises(DataUnavailableError, match="there is no guard"):
        Guard.load(tmp_path / "nothing")
    small.memories().save(tmp_path / "model.safetensors")
    with pytest.raises(FileFormatError, match="wanted a denseam guard file, found model"):
        Guard.load(tmp_path / "model.safetensors")


def test_the_file_is_no_pickle(tmp_path):
    small.guard().save(tmp_path)
    contents = (tmp_path / FILE).read_bytes()
    header = json.loads(contents[8 : 8 + int.from_bytes(contents[:8], "little")])
    assert json.loads(header["__metadata__"]["denseam"])["kind"] == "guard"


def test_a_place_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SaveError):
        small.guard().save(tmp_path / "file" / "guard")


def test_members_that_are_handed_over_stay_where_they_are(tmp_path, monkeypatch):
    small.guard().save(tmp_path)
    detector, classifier = small.memories(), small.memories(2.0, seed=1)
    for network in (detector, classifier):
        monkeypatch.setattr(network, "to", None)
    guard = Guard.load(tmp_path, detector=detector, classifier=classifier)
    assert guard.detector.network is detector
    assert guard.classifier.network is classifier
