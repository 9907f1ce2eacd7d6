"""What a memory takes, what it refuses, and files of patterns."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from tests.retrieval.problems import normal, signs

import denseam
from denseam.energies import Entmax, Exponential
from denseam.errors import DataUnavailableError, FileFormatError, InputError
from denseam.retrieval import AssociativeMemory, cover

BITS = signs(6, 12).float()


@pytest.mark.parametrize(
    ("patterns", "options", "words"),
    [
        (torch.empty(0, 5), {}, "K and D >= 1"),
        (torch.empty(3, 0), {}, "K and D >= 1"),
        ([], {}, "K and D >= 1"),
        ([torch.ones(3), torch.ones(4)], {}, "mixed kinds"),
        ([torch.ones(3), torch.ones(3).bool()], {}, "mixed kinds"),
        (torch.tensor([[1.0, -1], [0.5, 1]]), {"domain": "binary"}, "mixed kinds"),
        (torch.tensor([[1.0, -3]]), {"domain": "box"}, "box"),
        (torch.tensor([[1.0, torch.nan]]), {}, "pattern 0 holds NaN"),
        (torch.ones(2, 3, dtype=torch.complex64), {}, "real"),
        ("words", {}, "no file"),
        (BITS, {"domain": "sphere"}, "domain"),
        (BITS, {"energy": 0.5}, "power"),
        (BITS, {"energy": "softmax"}, "energy"),
        (BITS, {"shape": (3, 3)}, "shape"),
    ],
)
def test_wrong_patterns_are_refused(patterns, options, words):
    with pytest.raises((InputError, DataUnavailableError), match=words):
        AssociativeMemory.store(patterns, **options)


@pytest.mark.parametrize("make", [lambda: Exponential(0), lambda: Exponential(-1.0),
                                  lambda: Entmax(0.0), lambda: Entmax(1.0, 1.0),
                                  lambda: Entmax(1.0, 3.0), lambda: denseam.energies.Polynomial(0),
                                  lambda: denseam.energies.Polynomial(2.5),
                                  lambda: denseam.energies.LogSumReLU(0)])  # fmt: skip
def test_numbers_out_of_range_are_refused(make):
    with pytest.raises(InputError):
        make()


@pytest.mark.parametrize(
    ("states", "options", "words"),
    [
        (torch.ones(2, 11), {}, "shape"),
        (torch.ones(2, 12).double(), {}, "float64"),
        (torch.full((2, 12), 0.5), {}, "binary"),
        (torch.full((2, 12), torch.nan), {}, "NaN"),
        (BITS, {"known": torch.ones(5, dtype=torch.bool)}, "known has shape"),
        (BITS, {"known": torch.ones(2, 12, dtype=torch.bool)}, "known has shape"),
        (BITS, {"known": torch.ones(12)}, "bool"),
        (BITS, {"dynamics": "gradient"}, "dynamics"),
        (BITS, {"label": 1}, "class neurons"),
        (BITS, {"max_steps": -1}, "max_steps"),
        (BITS, {"start": "centre"}, "start"),
    ],
)
def test_wrong_states_are_refused(states, options, words):
    with pytest.raises(InputError, match=words):
        AssociativeMemory.store(BITS, 3).retrieve(states, **options)


def test_states_beyond_the_box_are_refused():
    memory = AssociativeMemory.store(BITS, 3, domain="box")
    with pytest.raises(InputError, match="box"):
        memory.energy(torch.full((1, 12), 1.5))


def test_kinds_of_patterns_that_are_the_same():
    bools = BITS > 0
    for patterns in (BITS, bools, bools.numpy(), BITS.numpy(), BITS.tolist(), list(BITS),
                     (bools * 255).to(torch.uint8), BITS.reshape(6, 3, 4)):  # fmt: skip
        memory = AssociativeMemory.store(patterns, 3)
        assert memory.domain == "binary"
        assert torch.equal(memory.patterns.double(), BITS.double())


def test_pictures_and_masks_in_their_own_shape():
    memory = AssociativeMemory.store(BITS.reshape(6, 3, 4), 3)
    assert memory.shape == (3, 4)
    known = torch.ones(3, 4, dtype=torch.bool)
    known[:, :2] = False
    flat = memory.retrieve(BITS, known.flatten())
    assert torch.equal(memory.retrieve(BITS.reshape(6, 3, 4), known).states, flat.states)
    each = known.expand(6, 3, 4)
    assert torch.equal(memory.retrieve(BITS, each).states, flat.states)


def test_no_state_is_no_error():
    result = AssociativeMemory.store(BITS, 3).retrieve(torch.empty(0, 12))
    assert (len(result), result.states.shape, result.energies.shape[0]) == (0, (0, 12), 0)


@pytest.mark.parametrize("suffix", ["npy", "safetensors"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64, torch.uint8])
def test_patterns_in_files(tmp_path, suffix, dtype):
    pixels = (normal(5000, 60).clamp(-1, 1) + 1) * 127.5
    rows = pixels.to(dtype) if dtype == torch.uint8 else (pixels / 127.5 - 1).to(dtype)
    path = tmp_path / f"patterns.{suffix}"
    np.save(path, rows.numpy()) if suffix == "npy" else save_file({"memories": rows}, path)
    stored = AssociativeMemory.store(path, Exponential(2.0))
    there = AssociativeMemory.store(rows if rows.dtype != torch.float16 else rows.float(),
                                    Exponential(2.0))  # fmt: skip
    v = there.patterns[[3, 4100]] + 0.01
    torch.testing.assert_close(stored.energy(v), there.energy(v))
    assert stored.retrieve(v).nearest.tolist() == there.retrieve(v).nearest.tolist() == [3, 4100]


def test_files_that_hold_no_patterns(tmp_path):
    np.save(tmp_path / "one.npy", np.ones(3))
    np.save(tmp_path / "whole.npy", np.ones((3, 2), dtype=np.int64))
    save_file({"a": -BITS, "b": BITS}, tmp_path / "two.safetensors")
    (tmp_path / "cut.npy").write_bytes(b"\x93NUMPY")
    for name in ("one.npy", "whole.npy", "two.safetensors", "cut.npy"):
        with pytest.raises(FileFormatError):
            AssociativeMemory.store(tmp_path / name)
    assert len(AssociativeMemory.store(tmp_path / "two.safetensors", 3, tensor="b")) == 6


@pytest.mark.parametrize("how", ["left", "right", "top", "bottom", "half", "block:0.5"])
def test_covers_keep_what_is_known(how):
    v = torch.rand(3, 16)
    covered, known = cover(v, how, shape=(4, 4), fill=0.25)
    assert torch.equal(covered[known], v[known])
    assert bool((covered[~known] == 0.25).all())
    assert 0 < int(known.sum()) < known.numel()


def test_noise_and_wrong_covers():
    bits = signs(200, 50)
    turned, known = cover(bits, "noise:0.3", binary=True)
    assert known is None
    assert float((turned != bits).double().mean()) == pytest.approx(0.3, abs=0.02)
    v = torch.zeros(200, 50)
    assert float(cover(v, "noise:0.3").states.std()) == pytest.approx(0.3, abs=0.01)
    for how in ("upside", "noise:x", "noise:-1", "half:2", "left:9"):
        with pytest.raises(InputError):
            cover(v, how, shape=(5, 10))
    with pytest.raises(InputError, match="shape"):
        cover(v, "left")
