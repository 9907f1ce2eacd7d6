"""Which known sets are on this machine, and whether their files are whole."""

from dataclasses import dataclass

from denseam.data import fetch, mnist
from denseam.data.known import checked_bytes
from denseam.data.registry import KNOWN, KnownSet, known
from denseam.errors import DataUnavailableError

__all__ = ["SetStatus", "status", "verify"]


@dataclass(frozen=True)
class SetStatus:
    """What there is to know about a set without reading it.

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
    """The state of one known set, or of all; nothing is fetched.

    Raises:
        InputError: when no set has that name.
    """
    wanted = KNOWN.values() if name is None else [known(name)]
    return [_status(each) for each in wanted]


def verify(name: str) -> list[str]:
    """Read the files of a set again and compare their sums with the published ones.

    Returns:
        The files whose sums were right. One that was never published in this
        form (uncompressed, say) cannot be compared and is left out.

    Raises:
        InputError: when no set has that name.
        DataUnavailableError: when it is not on this machine; nothing is fetched.
        FileFormatError: when a sum is wrong.
    """
    wanted = known(name)
    if wanted.kind == "embedded":
        return list(mnist.decode())
    paths = fetch.locate(wanted)
    if not paths:
        where = fetch.cache_folder() / wanted.name
        raise DataUnavailableError(f"{name} is not on this machine; its files belong in {where}")
    return [str(path) for role, path in paths.items() if checked_bytes(wanted.files[role], path)[1]]


def _status(wanted: KnownSet) -> SetStatus:
    available, where = True, "embedded in the package"
    if wanted.kind != "embedded":
        paths = fetch.locate(wanted)
        available = bool(paths)
        folder = next(iter(paths.values())).parent if paths else fetch.cache_folder() / wanted.name
        where = str(folder)
    return SetStatus(
        wanted.name,
        wanted.title,
        available,
        where,
        wanted.n_train,
        wanted.n_test,
        wanted.class_names,
        wanted.licence,
        wanted.source,
    )
