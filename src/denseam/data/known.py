"""Known image sets: read them, look for them, verify their files."""

import functools
import hashlib
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from denseam.data import fetch
from denseam.data.examples import Dataset
from denseam.data.formats import parse_cifar, parse_idx, parse_libsvm, unpack
from denseam.data.imageset import ImageSet
from denseam.data.registry import KNOWN, KnownSet, RemoteFile, known
from denseam.errors import DataUnavailableError, FileFormatError


@dataclass(frozen=True)
class SetStatus:
    """Facts about a known set, taken without reading it.

    Attributes:
        name, title: what ``load`` takes, and what people say.
        available: whether it is on this machine.
        where: the folder of its files, or where they would go.
        n_train, n_test: how many images.
        classes: the names of the classes.
        licence, source: its terms and its home page.
    """

    name: str
    title: str
    available: bool
    where: str
    n_train: int
    n_test: int
    classes: tuple[str, ...]
    licence: str
    source: str


def status(name: str | None = None) -> list[SetStatus]:
    """Return the state of one known set, or of all; nothing is fetched.

    Raises:
        InputError: when no set has that name.

    >>> [s.where for s in status("mnist")]
    ['embedded in the package']
    """
    return [_status(each) for each in (KNOWN.values() if name is None else [known(name)])]


def verify(name: str) -> list[str]:
    """Read the files of a set again and compare their sums with the published ones.

    Returns:
        The files whose sums were right. A file that was never published in this form (uncompressed,
        say) cannot be compared and is left out.

    Raises:
        InputError: when no set has that name.
        DataUnavailableError: when it is not on this machine; nothing is fetched.
        FileFormatError: when a sum is wrong.

    >>> verify("mnist")[0]
    'train-images-idx3-ubyte'
    """
    images = known(name)
    paths = fetch.locate(images)
    if not paths:
        raise DataUnavailableError(
            f"{name} is not on this machine; its files belong in {fetch.home(images)}"
        )
    return [
        images.files[role].plain_name if images.embedded else str(path)
        for role, path in paths.items()
        if _checked(images.files[role], path)[1]
    ]


def load_known(images: KnownSet) -> Dataset[ImageSet]:
    """Return a known set, fetched first if it is not on this machine.

    Raises:
        DataUnavailableError: when it is neither here nor within reach.
        FileFormatError: when a file is not the published one.
        SaveError: when it has to be fetched into a folder that cannot be written.
    """
    return _embedded(images.name) if images.embedded else _read(images, fetch.obtain(images))


@functools.cache
def _embedded(name: str) -> Dataset[ImageSet]:
    """Unpack a set of the package, once per process."""
    return _read(KNOWN[name], fetch.obtain(KNOWN[name]))


def _status(images: KnownSet) -> SetStatus:
    paths = fetch.locate(images)
    folder = next(iter(paths.values())).parent if paths else fetch.home(images)
    return SetStatus(
        images.name, images.title, bool(paths),
        "embedded in the package" if images.embedded else str(folder),
        images.n_train, images.n_test, images.class_names, images.licence, images.source,
    )  # fmt: skip


def _read(images: KnownSet, paths: dict[str, Path]) -> Dataset[ImageSet]:
    data, verified = {}, True
    for role, path in paths.items():
        data[role], vouched_for = _checked(images.files[role], path)
        verified &= vouched_for
    sets = []
    for part, count in (("train", images.n_train), ("test", images.n_test)):
        source = str(next(path for role, path in paths.items() if role.startswith(part)))
        pixels, labels = _arrays(images, part, data, source)
        if len(pixels) != count:
            raise FileFormatError(f"{source}: {images.name} has {count} images, got {len(pixels)}")
        sets.append(
            ImageSet.from_arrays(
                pixels,
                labels - images.first_label,
                name=f"{images.name} {part}",
                shape=images.shape,
                scale="visible" if images.kind == "libsvm" else "byte",
                n_classes=len(images.class_names),
                class_names=images.class_names,
                metadata={"source": images.name, "verified": verified},
            )
        )
    return Dataset(images.name, *sets)


def _arrays(
    images: KnownSet, part: str, data: dict[str, bytes], source: str
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    if images.kind == "libsvm":
        return parse_libsvm(data[part], math.prod(images.shape), source)
    if images.kind == "cifar":
        batches = [
            parse_cifar(batch, images.shape, f"{source}, {role}")
            for role, batch in data.items()
            if role.startswith(part)
        ]
        return np.concatenate([x for x, _ in batches]), np.concatenate([y for _, y in batches])
    pixels = parse_idx(data[f"{part}-images"], source)
    labels = parse_idx(data[f"{part}-labels"], source.replace("images-idx3", "labels-idx1"))
    if pixels.ndim != 3 or labels.ndim != 1:
        raise FileFormatError(f"{source}: wanted images (M, H, W), got shape {pixels.shape}")
    return (pixels.transpose(0, 2, 1) if images.transposed else pixels), labels.astype(np.int64)


def _checked(file: RemoteFile, path: Path) -> tuple[bytes, bool]:
    """Return the bytes of a file, and whether a published sum vouches for them.

    A file that was compressed again, or not at all, is vouched for by the sum of its content. Where
    only the sum of the compressed file was published, an uncompressed one is taken on trust
    (False); its shape is still checked.

    Raises:
        FileFormatError: when the sum is not the published one.
        DataUnavailableError: when the file cannot be read.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataUnavailableError(f"{path}: cannot be read: {error.strerror}") from error
    if hashlib.sha256(data).hexdigest() == file.sha256:
        return data, True
    content = unpack(data, str(path))
    got = hashlib.sha256(content).hexdigest()
    if file.content_sha256 is None and path.name == file.plain_name:
        return content, False
    if got != file.content_sha256:
        raise FileFormatError(
            f"{path}: not the published {file.name}: SHA-256 of its content is {got}, wanted "
            f"{file.content_sha256 or f'the file itself to have {file.sha256}'}"
        )
    return content, True
