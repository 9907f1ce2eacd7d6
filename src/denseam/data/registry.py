"""Image sets that denseam knows by name, as ``known.toml`` describes them.

Facts only; :mod:`denseam.data.fetch` and :mod:`denseam.data.known` act on them.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from denseam.errors import InputError
from denseam.spelling import suggestion

ROLES: Final = ("train-images", "train-labels", "test-images", "test-labels")

KnownName = Literal[
    "mnist", "fashion-mnist", "kmnist", "emnist-letters", "emnist-balanced", "emnist-byclass",
    "emnist-bymerge", "emnist-digits", "emnist-mnist", "usps", "cifar-10",
]  # fmt: skip
"""The names in KNOWN, for type checkers."""


@dataclass(frozen=True)
class RemoteFile:
    """A published file: its name, its SHA-256, and the SHA-256 of its content where known."""

    name: str
    sha256: str
    content_sha256: str | None = None

    @property
    def plain_name(self) -> str:
        """Name of the file once it is unpacked."""
        return self.name.removesuffix(".gz").removesuffix(".bz2").removesuffix(".xz")


@dataclass(frozen=True)
class KnownSet:
    """An image set that can be asked for by name.

    Attributes:
        name: what :func:`denseam.data.load` takes.
        title: what people call it.
        shape: (H, W), or (3, H, W) of colours.
        n_train, n_test: how many images.
        class_names: C names.
        licence, source, citation: its terms, its home page, and its paper.
        kind: "idx" (a file per role), "libsvm" (a file per part) or "cifar" (some files per part).
        files: the published file of each role; of "train" and "test" for libsvm, of roles that
            begin with these for cifar.
        mirrors: base addresses, tried in this order.
        archive: where the files come inside a zip file or a compressed tar file, that file.
        folders: where systems put the files.
        first_label: the number that the files give to the first class.
        transposed: whether the files hold the images column by column.
        embedded: whether the files are in this package.
    """

    name: str
    title: str
    shape: tuple[int, ...]
    n_train: int
    n_test: int
    class_names: tuple[str, ...]
    licence: str
    source: str
    citation: str
    kind: Literal["idx", "libsvm", "cifar"]
    files: Mapping[str, RemoteFile]
    mirrors: tuple[str, ...] = ()
    archive: RemoteFile | None = None
    folders: tuple[str, ...] = ()
    first_label: int = 0
    transposed: bool = False
    embedded: bool = False


def _known_set(name: str, fields: dict[str, Any]) -> KnownSet:
    lists = {key: tuple(value) for key, value in fields.items() if isinstance(value, list)}
    files = {role: RemoteFile(*file) for role, file in fields["files"].items()}
    archive = RemoteFile(*fields["archive"]) if "archive" in fields else None
    return KnownSet(name, **{**fields, **lists, "files": files, "archive": archive})


_TABLES: dict[str, dict[str, Any]] = tomllib.loads(
    Path(__file__).with_name("known.toml").read_text()
)

KNOWN: dict[str, KnownSet] = {
    name: _known_set(name, {**_TABLES.get(fields.pop("like", ""), {}), **fields})
    for name, fields in _TABLES.items()
}


def known(name: str) -> KnownSet:
    """Return the set of that name.

    Raises:
        InputError: with the name that was probably meant, or all that there are.
    """
    if name not in KNOWN:
        hint = suggestion(name, KNOWN) or f"; known are {', '.join(KNOWN)}"
        raise InputError(f"no image set is called {name!r}{hint}")
    return KNOWN[name]
