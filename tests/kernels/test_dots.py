"""The product of our own: one number, made in one way, whatever else is asked."""

import math
import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.kernels.problems import DTYPES, grid, needs_c
from torch import Tensor

from denseam.kernels import native
from denseam.kernels.products import FORMS

pytestmark = needs_c

dots = FORMS["dots"]


def rows(count: int, length: int, dtype: torch.dtype, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(count, length, generator=generator, dtype=dtype) * 2 - 1


@given(
    m=st.integers(1, 23), n=st.integers(1, 23), length=st.integers(1, 90),
    dtype=st.sampled_from(DTYPES), seed=st.integers(0, 1000),
)  # fmt: skip
@settings(max_examples=150, deadline=None)
def test_a_number_depends_on_its_two_rows_alone(
    m: int, n: int, length: int, dtype: torch.dtype, seed: int
) -> None:
    a, b = rows(m, length, dtype, seed), rows(n, length, dtype, seed + 1)
    together = dots(a, b)
    for i in range(m):
        assert torch.equal(dots(a[i : i + 1], b), together[i : i + 1])
    for j in range(n):
        assert torch.equal(dots(a, b[j : j + 1]), together[:, j : j + 1])
    assert torch.equal(dots(a.flip(0), b.flip(0)), together.flip(0, 1))


@given(
    m=st.integers(1, 12), n=st.integers(1, 12), length=st.integers(1, 90),
    dtype=st.sampled_from(DTYPES), seed=st.integers(0, 1000),
)  # fmt: skip
@settings(max_examples=50, deadline=None)
def test_every_component_counts_once(
    m: int, n: int, length: int, dtype: torch.dtype, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    a, b = grid(generator, m, length).to(dtype), grid(generator, n, length).to(dtype)
    assert torch.equal(dots(a, b).double(), a.double() @ b.double().T)  # exact in any order


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shared_pool", [True, False])
def test_neither_on_the_threads(
    dtype: torch.dtype, shared_pool: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = rows(701, 794, dtype, 0), rows(33, 794, dtype, 1)
    torch.set_num_threads(1)
    alone = dots(a, b)
    if not shared_pool:
        monkeypatch.setattr(native, "_shared_pool", lambda: None)
    for threads in (2, 5, 300):
        torch.set_num_threads(threads)
        assert torch.equal(dots(a, b), alone)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("length", [3, 16, 17, 31, 40])
def test_nothing_between_the_rows_is_read(dtype: torch.dtype, length: int) -> None:
    """Behind the last vector of a row the next row begins; in between may be anything."""
    a, b = rows(9, length, dtype, 0), rows(7, length, dtype, 1)
    wide = [torch.full((len(x), length + 11), math.nan, dtype=dtype) for x in (a, b)]
    for whole, piece in zip(wide, (a, b), strict=True):
        whole[:, 4 : 4 + length] = piece
    actual = dots(*(whole[:, 4 : 4 + length] for whole in wide))
    assert torch.equal(actual, dots(a, b))


BEFORE_A_WALL = """
import ctypes, mmap
import torch
from denseam.kernels.products import FORMS

def at_the_end(values):
    pages = mmap.mmap(-1, 4 * mmap.PAGESIZE)
    begin = ctypes.addressof(ctypes.c_char.from_buffer(pages))
    wall = begin + 3 * mmap.PAGESIZE
    libc = ctypes.CDLL(None)
    assert libc.mprotect(ctypes.c_void_p(wall), ctypes.c_size_t(mmap.PAGESIZE), 0) == 0
    place = 3 * mmap.PAGESIZE - values.numel() * values.element_size()
    held = torch.frombuffer(pages, dtype=values.dtype, count=values.numel(), offset=place)
    return held.view_as(values).copy_(values)

for dtype in (torch.float32, torch.float64):
    for m, n, length in ((1, 1, 3), (6, 7, 16), (4, 3, 37), (11, 1, 19), (2, 9, 5)):
        a, b = torch.rand(m, length, dtype=dtype), torch.rand(n, length, dtype=dtype)
        found = FORMS["dots"](at_the_end(a), at_the_end(b))
        assert torch.allclose(found, a @ b.T)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the wall is built of Linux pages")
def test_nothing_behind_the_last_row_is_read() -> None:
    """In a process of its own: what lies behind the operands there may not be read."""
    subprocess.run([sys.executable, "-c", BEFORE_A_WALL], check=True)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_infinite_components_stay_where_they_are(dtype: torch.dtype) -> None:
    """The components of the last vector are read twice when it is not whole: once they count."""
    a, b = rows(6, 21, dtype, 0), rows(6, 21, dtype, 1).abs() + 0.1
    for place in range(21):
        row = a.clone()
        row[2, place] = math.inf
        actual = dots(row, b)
        assert bool((actual[2] == math.inf).all())
        assert torch.equal(actual[3:], dots(a[3:], b))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_chains_are_short(dtype: torch.dtype) -> None:
    """One running sum of 784 equal products is off by far more than 16 sums of 49."""
    a = torch.full((1, 784), 0.1, dtype=dtype)
    exact = 784 * a.double()[0, 0].item() ** 2
    error = abs(dots(a, a).item() - exact)
    assert error <= 8 * torch.finfo(dtype).eps * exact


def test_rows_that_are_not_dense_go_to_another_product() -> None:
    a, b = rows(5, 12, torch.float32, 0), rows(12, 6, torch.float32, 1)
    assert torch.allclose(dots(a, b.T), a @ b)
    assert torch.allclose(dots(a.T.contiguous().T, b.T.contiguous()), a @ b)


def test_of_nothing_comes_nothing() -> None:
    assert dots(torch.ones(0, 3), torch.ones(2, 3)).shape == (0, 2)
    assert torch.equal(dots(torch.ones(2, 0), torch.ones(3, 0)), torch.zeros(2, 3))
