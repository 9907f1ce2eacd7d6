"""Entropy coding of many symbol streams at once, in NumPy.

A range variant of asymmetric numeral systems (J. Duda, "Asymmetric numeral
systems", arXiv:1311.2540) with static frequency tables. A scalar coder in
Python would take minutes; here ``LANES`` coders run side by side, each on its
own symbols but all on one stream of 16-bit words, so every step is a handful
of NumPy calls on arrays of that length.

A model walks over the data and calls ``coder.code(table, context, target)``.
With a :class:`Recorder` that reads ``target``; with a :class:`Decoder` it fills
it in. So the model is written once and cannot differ between the two.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["LANES", "Coder", "Decoder", "Recorder", "Table", "encode"]

LANES = 4096
"""Coders side by side: each costs 4 bytes of stream, and fewer make NumPy's calls dominate."""
_LOW = 1 << 16  # the state of a lane stays in [_LOW, _LOW << 16)

Bytes = NDArray[np.uint8]
Words = NDArray[np.uint16]
Contexts = NDArray[np.uint32]


class Coder(Protocol):
    """What a model talks to."""

    def code(self, table: str, context: Contexts, target: Bytes) -> None:
        """Code ``target`` (n,), each symbol given its ``context`` (n,)."""


@dataclass(frozen=True, eq=False)
class Table:
    """Symbol frequencies per context, summing to ``2 ** bits`` in each.

    Attributes:
        bits: precision of the frequencies.
        used: (contexts,) bool, the contexts that occur.
        freq: (used contexts, symbols) uint16.
    """

    bits: int
    used: NDArray[np.bool_]
    freq: NDArray[np.uint16]

    @classmethod
    def fit(cls, counts: NDArray[np.int64], bits: int) -> "Table":
        """Frequencies for the given counts (contexts, symbols); what occurs gets at least 1."""
        used: NDArray[np.bool_] = counts.sum(axis=1) > 0
        seen = counts[used]
        share = seen / seen.sum(axis=1, keepdims=True)
        freq = np.where(seen > 0, np.maximum(1, np.rint(share * (1 << bits))), 0).astype(np.int64)
        # Rounding leaves a small surplus or lack: the commonest symbol bears it best.
        rows = np.arange(len(freq))
        freq[rows, freq.argmax(axis=1)] += (1 << bits) - freq.sum(axis=1)
        return cls(bits, used, freq.astype(np.uint16))

    def rank(self, context: Contexts) -> Contexts:
        """Row of ``freq`` for each context."""
        ranks: Contexts = (np.cumsum(self.used) - 1).astype(np.uint32)
        return ranks[context]

    def starts(self) -> NDArray[np.uint32]:
        """Cumulated frequency below each symbol: (used contexts, symbols)."""
        freq = self.freq.astype(np.uint32)
        return np.cumsum(freq, axis=1, dtype=np.uint32) - freq

    def symbols(self) -> Bytes:
        """The symbol at each of the ``2 ** bits`` slots of each used context, flat."""
        rows, width = self.freq.shape
        return np.repeat(np.tile(np.arange(width, dtype=np.uint8), rows), self.freq.ravel())


class Decoder:
    """Fills targets from a stream of words that :func:`encode` wrote."""

    def __init__(self, words: Words, tables: Mapping[str, Table]) -> None:
        """Take the stream, and the tables it was written with."""
        states = words[: 2 * LANES].astype(np.uint32)
        self._state = (states[:LANES] << 16) | states[LANES:]
        self._words = words[2 * LANES :].astype(np.uint32)
        self._at = 0
        self._tables = {name: _Lookup(table) for name, table in tables.items()}

    def code(self, table: str, context: Contexts, target: Bytes) -> None:
        """Fill ``target`` (n,) with the next symbols, given their contexts (n,)."""
        lookup = self._tables[table]
        rows = lookup.ranks[context]
        for first in range(0, len(rows), LANES):
            target[first : first + LANES] = self._step(lookup, rows[first : first + LANES])

    def _step(self, lookup: "_Lookup", rows: Contexts) -> Bytes:
        """One symbol from each of the first len(rows) lanes."""
        state = self._state[: len(rows)]
        slot = state & lookup.mask
        symbols: Bytes = lookup.symbols[(rows << lookup.bits) | slot]
        cell = rows * lookup.width + symbols
        state = lookup.freq[cell] * (state >> lookup.bits) + slot - lookup.start[cell]
        low = np.flatnonzero(state < _LOW)
        state[low] = (state[low] << 16) | self._words[self._at : self._at + len(low)]
        self._at += len(low)
        self._state[: len(rows)] = state
        return symbols


class _Lookup:
    """A table unfolded for decoding."""

    def __init__(self, table: Table) -> None:
        self.bits = np.uint32(table.bits)
        self.mask = np.uint32((1 << table.bits) - 1)
        self.width = np.uint32(table.freq.shape[1])
        self.ranks: Contexts = (np.cumsum(table.used) - 1).astype(np.uint32)
        self.freq = table.freq.astype(np.uint32).ravel()
        self.start = table.starts().ravel()
        self.symbols = table.symbols()


class Recorder:
    """Notes what a model codes, for :func:`encode`."""

    def __init__(self) -> None:
        """Start with nothing noted."""
        self.calls: list[tuple[str, Contexts, Bytes]] = []

    def code(self, table: str, context: Contexts, target: Bytes) -> None:
        """Note ``target`` (n,) and its contexts (n,)."""
        self.calls.append((table, context.astype(np.uint32), target.copy()))

    def counts(self, table: str, contexts: int, symbols: int) -> NDArray[np.int64]:
        """How often each symbol follows each context: (contexts, symbols)."""
        total = np.zeros(contexts * symbols, np.int64)
        for name, context, target in self.calls:
            if name == table:
                cells = context.astype(np.int64) * symbols + target
                total += np.bincount(cells, minlength=len(total))
        return total.reshape(contexts, symbols)


def encode(calls: Sequence[tuple[str, Contexts, Bytes]], tables: Mapping[str, Table]) -> Words:
    """The stream of words from which a :class:`Decoder` repeats the recorded calls."""
    starts = {name: table.starts() for name, table in tables.items()}
    state = np.full(LANES, _LOW, np.uint64)
    pieces: list[Words] = []
    for name, context, target in reversed(calls):  # last in, first out
        table, rows = tables[name], tables[name].rank(context)
        freq = table.freq[rows, target].astype(np.uint64)
        start = starts[name][rows, target].astype(np.uint64)
        for first in reversed(range(0, len(target), LANES)):
            part = slice(first, first + LANES)
            pieces.append(_push(state, freq[part], start[part], table.bits))
    pieces.append((state & 0xFFFF).astype(np.uint16))
    pieces.append((state >> 16).astype(np.uint16))
    return np.concatenate(pieces[::-1])


def _push(
    state: NDArray[np.uint64], freq: NDArray[np.uint64], start: NDArray[np.uint64], bits: int
) -> Words:
    """Put one symbol on each of the first len(freq) lanes; returns the words they spill."""
    lanes = state[: len(freq)]
    full = lanes >= freq << np.uint64(32 - bits)
    spilled = (lanes[full] & 0xFFFF).astype(np.uint16)
    lanes[full] >>= np.uint64(16)
    lanes[:] = (lanes // freq << np.uint64(bits)) + lanes % freq + start
    return spilled
