"""The facts about the known sets hang together."""

import re

import pytest

from denseam import data
from denseam.data.registry import KNOWN, ROLES, KnownSet

BATCHES = tuple(f"train-{number}" for number in range(1, 6))


@pytest.mark.parametrize("known", KNOWN.values(), ids=list(KNOWN))
def test_consistency(known: KnownSet) -> None:
    assert KNOWN[known.name] is known
    assert len(set(known.class_names)) == len(known.class_names)
    assert known.licence
    assert known.citation
    assert known.source.startswith("http")
    roles = {"idx": ROLES, "libsvm": ("train", "test"), "cifar": (*BATCHES, "test")}
    assert tuple(known.files) == roles[known.kind]
    assert bool(known.mirrors) != known.embedded
    assert all(re.fullmatch(r"https?://.+/", mirror) for mirror in known.mirrors)


def test_sums_are_sums_and_differ() -> None:
    files = [file for known in KNOWN.values() for file in known.files.values()]
    files += {known.archive for known in KNOWN.values() if known.archive}  # shared by EMNIST's
    sums = [s for f in files for s in (f.sha256, f.content_sha256) if s is not None]
    assert all(re.fullmatch("[0-9a-f]{64}", s) for s in sums)
    assert len(set(sums)) == len(sums)


def test_status_lists_every_set() -> None:
    records = data.status()
    assert [r.name for r in records] == list(KNOWN)
    assert records[0].available
    assert records[0].where == "embedded in the package"
    assert not any(r.available for r in records if r.name in ("kmnist", "emnist-letters", "usps"))
    assert data.verify("mnist") == [
        "train-images-idx3-ubyte",
        "train-labels-idx1-ubyte",
        "t10k-images-idx3-ubyte",
        "t10k-labels-idx1-ubyte",
    ]


def test_published_counts() -> None:
    sizes = {r.name: (r.n_train, r.n_test, len(r.classes)) for r in data.status()}
    assert sizes == {
        "mnist": (60_000, 10_000, 10),
        "fashion-mnist": (60_000, 10_000, 10),
        "kmnist": (60_000, 10_000, 10),
        "emnist-letters": (124_800, 20_800, 26),
        "emnist-balanced": (112_800, 18_800, 47),
        "emnist-byclass": (697_932, 116_323, 62),
        "emnist-bymerge": (697_932, 116_323, 47),
        "emnist-digits": (240_000, 40_000, 10),
        "emnist-mnist": (60_000, 10_000, 10),
        "usps": (7_291, 2_007, 10),
        "cifar-10": (50_000, 10_000, 10),
    }
