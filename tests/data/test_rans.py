"""The entropy coder gives back what it was given, close to the entropy."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from denseam.data import rans

CONTEXTS, SYMBOLS = 5, 7


@given(st.lists(st.integers(0, 9000), min_size=1, max_size=3), st.integers(0, 2**32 - 1))
def test_round_trip(lengths: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    recorder = rans.Recorder()
    for length in lengths:
        context = rng.integers(0, CONTEXTS - 1, length).astype(np.uint32)
        symbols = rng.binomial(SYMBOLS - 1, 0.1 + 0.2 * context).astype(np.uint8)
        recorder.code("t", context, symbols)
    tables = {"t": rans.Table.fit(recorder.counts("t", CONTEXTS, SYMBOLS), 10)}
    decoder = rans.Decoder(rans.encode(recorder.calls, tables), tables)
    for _, context, symbols in recorder.calls:
        out = np.full_like(symbols, 255)
        decoder.code("t", context, out)
        assert np.array_equal(out, symbols)


def test_size_is_near_the_entropy() -> None:
    rng = np.random.default_rng(1)
    share = np.array([0.9, 0.06, 0.04])
    symbols = rng.choice(3, 400_000, p=share).astype(np.uint8)
    recorder = rans.Recorder()
    recorder.code("t", np.zeros(len(symbols), np.uint32), symbols)
    counts = recorder.counts("t", 1, 3)
    words = rans.encode(recorder.calls, {"t": rans.Table.fit(counts, 12)})
    entropy = -(counts * np.log2(counts / counts.sum())).sum() / 8
    # Each lane writes a state of 32 bits, of which about 8 carry something.
    assert entropy < words.nbytes < 1.002 * entropy + 3.1 * rans.LANES


def test_tables_sum_up_and_keep_rare_symbols() -> None:
    table = rans.Table.fit(np.array([[10**6, 1, 0], [0, 0, 0], [1, 1, 1]]), 12)
    assert table.used.tolist() == [True, False, True]
    assert table.freq.sum(axis=1).tolist() == [4096, 4096]
    assert table.freq[0].tolist() == [4095, 1, 0]
