"""MNIST, packed into the package; ``LICENSE.md`` beside this file states its terms."""

import functools
import hashlib
from importlib import resources
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from denseam.data import idx
from denseam.data.imageset import Dataset, ImageSet
from denseam.data.packing import unpack
from denseam.errors import FileFormatError

__all__ = ["FILE_NAME", "N_TRAIN", "SHA256", "check_sums", "decode", "load"]

FILE_NAME: Final = "mnist.packed"
N_TRAIN: Final = 60_000
SHA256: Final = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
"""Sums of the four published files, uncompressed."""

Arrays = dict[str, NDArray[np.uint8]]


@functools.cache
def load() -> Dataset:
    """MNIST: 60000 training and 10000 test digits, 28 x 28. Decoded once per process.

    Raises:
        FileFormatError: when the file in the package is damaged.
    """
    arrays = decode()
    return Dataset("mnist", *(_part(arrays, part) for part in ("train", "t10k")))


def decode() -> Arrays:
    """The arrays of the four published files, by file name, each checked against its sum.

    Raises:
        FileFormatError: when the file in the package is damaged.
    """
    packed = resources.files(__package__).joinpath(FILE_NAME).read_bytes()
    images, labels = unpack(packed, FILE_NAME)
    arrays = {
        "train-images-idx3-ubyte": images[:N_TRAIN],
        "train-labels-idx1-ubyte": labels[:N_TRAIN],
        "t10k-images-idx3-ubyte": images[N_TRAIN:],
        "t10k-labels-idx1-ubyte": labels[N_TRAIN:],
    }
    check_sums(arrays, FILE_NAME)
    return arrays


def check_sums(arrays: Arrays, source: str) -> None:
    """Compare arrays, as the IDX files that they stand for, with the published sums.

    Raises:
        FileFormatError: naming the first that differs.
    """
    for name, wanted in SHA256.items():
        sha = hashlib.sha256(idx.header(arrays[name]))
        sha.update(np.ascontiguousarray(arrays[name]).data)
        if sha.hexdigest() != wanted:
            raise FileFormatError(
                f"{source}: {name} has SHA-256 {sha.hexdigest()}, the published one is {wanted}"
            )


def _part(arrays: Arrays, part: str) -> ImageSet:
    images = torch.from_numpy(arrays[f"{part}-images-idx3-ubyte"])
    labels = torch.from_numpy(arrays[f"{part}-labels-idx1-ubyte"]).to(torch.int64)
    name = "mnist train" if part == "train" else "mnist test"
    return ImageSet(images, labels, 10, name=name, metadata={"source": "mnist", "verified": True})
