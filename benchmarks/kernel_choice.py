"""Why the fast kernels are C: the loops over memories and classes, written four other ways.

Times the forward sums and the backward weights for B = 1000, K = 2000, C = 10 and a power, without
the matrix products, which are the same for all. Needs numba, which denseam itself does not:

    pip install numba && python benchmarks/kernel_choice.py [power]

`docs/developers/log.md` quotes it.
"""

import math
import sys
import time

import numba
import torch

from denseam.bench.timing import milliseconds
from denseam.kernels import by_name
from denseam.kernels.interface import field_shifts

B, K, C = 1000, 2000, 10


@numba.njit(fastmath=True, inline="always")
def _power(x, n):
    result, factor = 1.0 + 0 * x, x
    while n > 0:
        if n & 1:
            result *= factor
        factor *= factor
        n >>= 1
    return result


@numba.njit(parallel=True, fastmath=True, cache=True)
def numba_sums(overlaps, shifts, inverse, n, sums):
    rows, images = shifts.shape[1], overlaps.shape[1]
    for tile in numba.prange((images + 63) // 64):
        low, high = tile * 64, min(images, tile * 64 + 64)
        sums[:, low:high] = 0
        for k in range(overlaps.shape[0]):
            for c in range(rows):
                for b in range(low, high):
                    x = max((overlaps[k, b] + shifts[k, c]) * inverse[b], numba.float32(0))
                    sums[c, b] += _power(x, n)


@numba.njit(parallel=True, fastmath=True, cache=True)
def numba_weights(overlaps, shifts, inverse, coefficients, n, weights, shares):
    rows, images = shifts.shape[1], overlaps.shape[1]
    for k in numba.prange(overlaps.shape[0]):
        weights[k] = 0
        for c in range(rows):
            share = numba.float32(0)
            for b in range(images):
                x = max((overlaps[k, b] + shifts[k, c]) * inverse[b], numba.float32(0))
                y = coefficients[c, b] * _power(x, n - 1)
                weights[k, b] += y
                share += y
            shares[k, c] = share


def tiled(overlaps, shifts, inverse, coefficients, n, tile=128):
    """Use PyTorch, a tile of memories at a time, so that intermediate results stay in the cache."""
    sums = torch.zeros(C + 1, B)
    weights, shares = torch.empty(K, B), torch.empty(K, C + 1)
    for k in range(0, K, tile):
        field = (overlaps[k : k + tile, None] + shifts[k : k + tile, :, None]).clamp_(min=0)
        field *= inverse
        sums += (field**n).sum(dim=0)
        share = (field ** (n - 1)).mul_(coefficients)
        weights[k : k + tile] = share.sum(dim=1)
        shares[k : k + tile] = share.sum(dim=2)
    return sums, weights, shares


def whole(overlaps, shifts, inverse, coefficients, n):
    """Write the whole expression, for torch.compile to fuse."""
    field = (overlaps[:, None] + shifts[:, :, None]).clamp(min=0) * inverse
    share = field ** (n - 1) * coefficients
    return (field**n).sum(dim=0), share.sum(dim=1), share.sum(dim=2)


def main() -> None:
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 30
    generator = torch.Generator().manual_seed(0)
    overlaps = 800 * torch.rand(K, B, generator=generator) - 100
    classes = 2 * torch.rand(K, C, generator=generator) - 1
    shifts, coefficients = field_shifts(classes), torch.randn(C + 1, B, generator=generator)
    c_kernel, reference = by_name("cpu"), by_name("reference")
    scale = c_kernel.sums(overlaps, classes, n, every_class=False).scale
    inverse = 1 / scale[0]

    def ours(kernel):
        kernel.sums(overlaps, classes, n, every_class=False)
        return kernel.weights(overlaps, classes, coefficients, scale, n - 1, class_gradient=True)[0]

    arrays = [x.numpy() for x in (overlaps, shifts, inverse)]
    out_sums, out_weights, out_shares = torch.empty(C + 1, B), torch.empty(K, B), shifts.clone()

    def with_numba():
        numba_sums(*arrays, n, out_sums.numpy())
        numba_weights(*arrays, coefficients.numpy(), n, out_weights.numpy(), out_shares.numpy())
        return out_weights

    numba.set_num_threads(torch.get_num_threads())
    compiled = torch.compile(whole)
    forms = {
        "C, this package": lambda: ours(c_kernel),
        "PyTorch, class by class (reference)": lambda: ours(reference),
        "PyTorch, tiles of 128 memories": lambda: tiled(overlaps, shifts, inverse, coefficients, n)[
            1
        ],
        "torch.compile": lambda: compiled(overlaps, shifts, inverse, coefficients, n)[1],
        "Numba": with_numba,
    }
    expected = ours(c_kernel)
    for name, form in forms.items():
        start = time.perf_counter()
        error = float((form() - expected).abs().max() / expected.abs().max())
        print(f"{name:40} first call {time.perf_counter() - start:6.2f} s, difference {error:.1e}")
        if not math.isfinite(error) or error > 1e-4:
            sys.exit(f"{name} computes something else")
    for name, ms in milliseconds(forms, rounds=15, budget=10).items():
        print(f"{name:40} {ms:8.2f} ms")


if __name__ == "__main__":
    main()
