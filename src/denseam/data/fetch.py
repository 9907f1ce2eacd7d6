"""Where the files of a known set are, and getting them when they are not there.

Files lie under ``<cache>/<set>/``, as published or uncompressed; people without
a network put them there by hand. pooch does the fetching: it checks the sum of
what arrived before the file gets its name, so half a download never counts.
"""

import os
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from denseam.data.registry import KnownSet, RemoteFile
from denseam.errors import DataUnavailableError, FileFormatError, SaveError
from denseam.files import write_bytes

__all__ = ["cache_folder", "locate", "obtain"]

_TIMEOUT_S = 30


def cache_folder() -> Path:
    """Where downloads go: ``$DENSEAM_DATA``, else the user's cache folder for denseam."""
    chosen = os.environ.get("DENSEAM_DATA")
    if chosen:
        return Path(chosen).expanduser()
    return Path(_pooch().os_cache("denseam"))


def locate(wanted: KnownSet) -> dict[str, Path]:
    """The files of ``wanted`` that are on this machine, by role; empty unless all are."""
    for folder in (cache_folder() / wanted.name, *map(Path, wanted.folders)):
        found = {}
        for role, file in wanted.files.items():
            path = _here(folder, file)
            if path is not None:
                found[role] = path
        if len(found) == len(wanted.files):
            return found
    return {}


def obtain(wanted: KnownSet) -> dict[str, Path]:
    """The files of ``wanted`` by role, fetched if they are not on this machine.

    Raises:
        DataUnavailableError: when they are not here and no mirror gives them;
            the message says which files to put where.
        SaveError: when the cache folder cannot be written.
    """
    found = locate(wanted)
    if found:
        return found
    folder = cache_folder() / wanted.name
    _check_writable(folder)
    if wanted.archive is not None:
        _from_archive(wanted, wanted.archive, folder)
    else:
        missing = [f for f in wanted.files.values() if _here(folder, f) is None]
        for file in missing:
            _download(wanted, file, folder, missing)
    return locate(wanted)


def _check_writable(folder: Path) -> None:
    """Make the folder, once and before a mirror is asked; SaveError where nothing can go there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise SaveError(
            f"{folder} cannot be written: {error.strerror or error}; DENSEAM_DATA may name another "
            "place"
        ) from error


def _here(folder: Path, file: RemoteFile) -> Path | None:
    for name in dict.fromkeys((file.name, file.plain_name)):
        if (folder / name).is_file():
            return folder / name
    return None


def _from_archive(wanted: KnownSet, archive: RemoteFile, folder: Path) -> None:
    """Take the files of ``wanted`` out of its zip file, which is dropped if we fetched it."""
    path = folder / archive.name
    by_hand = path.is_file()
    if not by_hand:
        _download(wanted, archive, folder, [archive])
    try:
        with zipfile.ZipFile(path) as bundle:
            members = {Path(member).name: member for member in bundle.namelist()}
            for file in wanted.files.values():
                write_bytes(folder / file.name, bundle.read(members[file.name]))
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise FileFormatError(f"{path}: not a whole zip file: {error}") from error
    except KeyError as error:
        raise FileFormatError(f"{path}: holds no {error}") from error
    if not by_hand:
        path.unlink()  # half a gigabyte, of which 5 % was wanted


def _download(
    wanted: KnownSet, file: RemoteFile, folder: Path, missing: Sequence[RemoteFile]
) -> None:
    """Fetch one file from the first mirror that gives the right one."""
    failures = []
    for mirror in wanted.mirrors:
        try:
            return _retrieve(mirror + file.name, file, folder)
        except (OSError, ValueError) as error:  # network and disk; a wrong sum
            failures.append(f"{mirror}: {_first_line(error)}")
    names = ", ".join(f.name for f in missing)
    raise DataUnavailableError(
        f"{wanted.name} is not on this machine and could not be fetched: put {names} from "
        f"{' or '.join(wanted.mirrors)} into {folder} (tried {'; '.join(failures)})"
    )


def _retrieve(url: str, file: RemoteFile, folder: Path) -> None:
    pooch = _pooch()
    progress = _Progress(file.name) if sys.stderr.isatty() else False
    with _quiet(pooch.get_logger()):
        pooch.retrieve(
            url,
            known_hash=f"sha256:{file.sha256}",
            fname=file.name,
            path=folder,
            downloader=pooch.HTTPDownloader(
                progressbar=progress, chunk_size=1 << 16, timeout=_TIMEOUT_S
            ),
        )


def _pooch() -> Any:
    """Imported when first needed: most runs have their data already."""
    import pooch  # noqa: PLC0415

    return pooch


@contextmanager
def _quiet(logger: Any) -> Iterator[None]:
    """Keep pooch from announcing each file; the progress line does that."""
    level = logger.level
    logger.setLevel("WARNING")
    try:
        yield
    finally:
        logger.setLevel(level)


def _first_line(error: Exception) -> str:
    text = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {text[0][:160]}"


class _Progress:
    """One line on the terminal; the methods are those that pooch calls."""

    def __init__(self, name: str) -> None:
        self.total = 0
        self._name = name
        self._done = 0

    def update(self, size: int) -> None:
        self._done += size
        share = f"{min(1, self._done / self.total):4.0%} of " if self.total else ""
        sys.stderr.write(f"\r{self._name}: {share}{(self.total or self._done) / 1e6:.1f} MB")
        sys.stderr.flush()

    def reset(self) -> None:
        self._done = 0

    def close(self) -> None:
        sys.stderr.write("\n")
