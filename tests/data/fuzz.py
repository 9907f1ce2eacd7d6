"""Damage tables and archives at random and read them: ``python -m tests.data.fuzz --count 100000``.

Readers must return a set or raise an error of denseam, quickly and without a growing memory.
"""

import argparse
import gzip
import io
import resource
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np

from denseam import data
from denseam.data import FeatureSet, ImageSet
from denseam.errors import DenseAMError, DenseAMWarning

from .idx import write_idx

RANDOM = np.random.default_rng(0)
PIXELS = RANDOM.integers(0, 256, (12, 4, 4)).astype(np.uint8)
LABELS = np.arange(12) % 3
ROWS = RANDOM.normal(size=(12, 3))
WORDS = [
    *(b",", b";", b"\t", b"\n", b'"', b"'", b"\0", b"\xff", b"\xef\xbb\xbf", b"nan", b"inf", b"-1"),
    *(b"1e999", b"0" * 50, b"{", b"}", b"(", b"PK\x05\x06", b"PK\x01\x02", b"descr", b"|O", b"<f8"),
]


def npz(**arrays: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
    return file.getvalue()


def saved(examples: data.Examples, suffix: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"set{suffix}"
        examples.save(path)
        return path.read_bytes()


def frame(save: str) -> bytes:
    import pandas as pd

    file = io.BytesIO()
    table = pd.DataFrame(ROWS, columns=["a", "b", "c"]).assign(label=[*"xyz"] * 4)
    getattr(table, save)(file, index=False)
    return file.getvalue()


def arrow() -> bytes:
    import pyarrow as pa

    table = pa.table({"a": ROWS[:, 0], "rows": ROWS.tolist(), "label": LABELS})
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


STATE = b'{"_data_files": [{"filename": "d.arrow"}]}'
SETS = (ImageSet.from_arrays(PIXELS, LABELS), FeatureSet.from_arrays(ROWS, LABELS))
KINDS: dict[str, Callable[[], dict[str, bytes]]] = {
    "csv": lambda: {"a.csv": frame("to_csv")},
    "gzip": lambda: {"a.csv.gz": gzip.compress(frame("to_csv"))},
    "npz": lambda: {"a.npz": npz(X=PIXELS, y=LABELS)},
    "npz of strings": lambda: {"a.npz": npz(X=ROWS, y=np.array([*"xyz"] * 4))},
    "image set": lambda: {"a.npz": saved(SETS[0], ".npz")},
    "feature set": lambda: {"a.safetensors": saved(SETS[1], ".safetensors")},
    "npy": lambda: {"f/X.npy": npy(ROWS), "f/y.npy": npy(LABELS)},
    "idx": lambda: {
        f"f/{part}-{kind}": idx(array)
        for part in ("train", "t10k")
        for kind, array in (("images", PIXELS), ("labels", LABELS.astype(np.uint8)))
    },
    "parquet": lambda: {"a.parquet": frame("to_parquet")},
    "arrow": lambda: {"f/d.arrow": arrow(), "f/state.json": STATE},
}


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def idx(array: np.ndarray) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a"
        write_idx(path, array)
        return path.read_bytes()


def damaged(contents: bytes, random: np.random.Generator) -> bytes:
    """Return bytes after one to four changes: flips, words, cuts, copies, removals."""
    new = bytearray(contents)
    for _ in range(random.integers(1, 5)):
        at = int(random.integers(0, len(new) + 1))
        end = min(len(new), at + int(random.integers(1, 1 + max(1, len(new) // 4))))
        change = int(random.integers(0, 6))
        if change == 0 and at < len(new):
            new[at] ^= 1 << int(random.integers(0, 8))
        elif change == 1 and at < len(new):
            new[at] = int(random.integers(0, 256))
        elif change == 2:
            new[at:at] = WORDS[int(random.integers(0, len(WORDS)))]
        elif change == 3:
            del new[at:]
        elif change == 4:
            new[at:at] = new[at:end]
        else:
            del new[at:end]
    return bytes(new)


def fuzz(kind: str, count: int, seed: int, folder: Path) -> tuple[int, float]:
    """Read ``count`` damaged files of a kind; return how many were read, and the longest time.

    Anything but a set or an error of denseam ends the run; the file that did it is kept.
    """
    whole = KINDS[kind]()
    random = np.random.default_rng(seed)
    names = [*whole]
    for name, contents in whole.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(contents)
    target = folder / names[0].split("/")[0]
    read, longest = 0, 0.0
    for _ in range(count):
        name = names[int(random.integers(0, len(names)))]
        (folder / name).write_bytes(damaged(whole[name], random))
        start = time.perf_counter()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                warnings.simplefilter("ignore", DenseAMWarning)
                data.load(target)
            read += 1
        except DenseAMError as error:
            if len(str(error)) > 4000 or "allow_pickle" in str(error):
                raise AssertionError(str(error)) from error
        longest = max(longest, time.perf_counter() - start)
        (folder / name).write_bytes(whole[name])
    return read, longest


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100_000, help="files, shared among the kinds")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=[*KINDS])
    args = parser.parse_args()
    each = -(-args.count // len(args.kinds))
    for kind in args.kinds:
        before = peak_mib()
        with tempfile.TemporaryDirectory() as folder:
            read, longest = fuzz(kind, each, args.seed, Path(folder))
        sys.stdout.write(
            f"{kind:<15} {each} files, {read} read, longest {longest:.3f} s, "
            f"memory +{peak_mib() - before:.0f} MiB\n"
        )
        sys.stdout.flush()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
