"""Reading the sets of :mod:`denseam.data.registry` once their files are here."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from denseam.data import fetch, idx, libsvm, mnist
from denseam.data.imageset import Dataset, ImageSet
from denseam.data.registry import KnownSet, RemoteFile
from denseam.errors import DataUnavailableError, FileFormatError

__all__ = ["load_known"]


def load_known(wanted: KnownSet) -> Dataset:
    """The set, fetched first if it is not on this machine.

    Raises:
        DataUnavailableError: when it is neither here nor within reach.
        FileFormatError: when a file is not the published one.
        SaveError: when it has to be fetched into a folder that cannot be written.
    """
    if wanted.kind == "embedded":
        return mnist.load()
    return _read(wanted, fetch.obtain(wanted))


def _read(wanted: KnownSet, paths: dict[str, Path]) -> Dataset:
    data, verified = {}, True
    for role, path in paths.items():
        data[role], sure = checked_bytes(wanted.files[role], path)
        verified &= sure
    parts = []
    for part, count in (("train", wanted.n_train), ("test", wanted.n_test)):
        where = str(paths[part if wanted.kind == "libsvm" else f"{part}-images"])
        images, labels = _arrays(wanted, part, data, where)
        if len(images) != count:
            raise FileFormatError(f"{where}: {wanted.name} has {count} images, got {len(images)}")
        parts.append(
            ImageSet.from_arrays(
                images,
                labels - wanted.first_label,
                name=f"{wanted.name} {part}",
                shape=wanted.shape,
                scale="visible" if wanted.kind == "libsvm" else "byte",
                n_classes=len(wanted.class_names),
                class_names=wanted.class_names,
                metadata={"source": wanted.name, "verified": verified},
            )
        )
    return Dataset(wanted.name, *parts)


def _arrays(
    wanted: KnownSet, part: str, data: dict[str, bytes], where: str
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    if wanted.kind == "libsvm":
        return libsvm.parse(data[part], wanted.shape[0] * wanted.shape[1], where)
    images = idx.parse(data[f"{part}-images"], where)
    labels = idx.parse(data[f"{part}-labels"], where.replace("images-idx3", "labels-idx1"))
    if images.ndim != 3 or labels.ndim != 1:
        raise FileFormatError(f"{where}: wanted images (M, H, W), got shape {images.shape}")
    return (images.transpose(0, 2, 1) if wanted.transposed else images), labels.astype(np.int64)


def checked_bytes(file: RemoteFile, path: Path) -> tuple[bytes, bool]:
    """The bytes of a file, and whether a published sum vouches for them.

    A file compressed anew, or not at all, is vouched for by the sum of its
    content. Where only the sum of the compressed file was published, an
    uncompressed one is taken on trust (False); its shape is still checked.

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
    content = idx.gunzip(libsvm.bunzip(data, str(path)), str(path))
    got = hashlib.sha256(content).hexdigest()
    if file.content_sha256 is None and path.name == file.plain_name:
        return content, False
    if got != file.content_sha256:
        raise FileFormatError(
            f"{path}: not the published {file.name}: SHA-256 of its content is {got}, wanted "
            f"{file.content_sha256 or f'the file itself to have {file.sha256}'}"
        )
    return content, True
