"""Find the files of a known set, and fetch them when they are not on this machine.

Files lie under ``<cache>/<set>/``, as published or uncompressed; without a network they are put
there by hand. Those of an embedded set lie beside this file. pooch fetches: it checks the sum of
what arrived before the file gets its name, so half a download never counts.
"""

import gzip
import os
import sys
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, cast

from denseam.data.registry import KnownSet, RemoteFile
from denseam.errors import DataUnavailableError, FileFormatError, SaveError
from denseam.files import write_bytes

_TIMEOUT_S = 30


def cache_folder() -> Path:
    """Return where downloads go: ``$DENSEAM_DATA``, else the user's cache folder for denseam."""
    chosen = os.environ.get("DENSEAM_DATA")
    if chosen:
        return Path(chosen).expanduser()
    return Path(_pooch().os_cache("denseam"))


def home(images: KnownSet) -> Path:
    """Return the folder where the files of a set belong."""
    if images.embedded:
        return Path(__file__).with_name(images.name)
    return cache_folder() / images.name


def locate(images: KnownSet) -> dict[str, Path]:
    """Return the files of a set that are on this machine, by role; empty unless all are."""
    for folder in (home(images), *map(Path, images.folders)):
        paths = {role: _here(folder, file) for role, file in images.files.items()}
        if None not in paths.values():
            return {role: path for role, path in paths.items() if path}
    return {}


def obtain(images: KnownSet) -> dict[str, Path]:
    """Return the files of a set by role, fetched if they are not on this machine.

    Raises:
        DataUnavailableError: when they are not here and no mirror gives them;
            the message says which files to put where.
        SaveError: when the cache folder cannot be written.
    """
    paths, folder = locate(images), home(images)
    if paths:
        return paths
    if images.embedded:
        raise DataUnavailableError(f"{folder} lacks files of {images.name}: install denseam again")
    _check_writable(folder)
    if images.archive is not None:
        _from_archive(images, images.archive, folder)
    else:
        missing = [f for f in images.files.values() if _here(folder, f) is None]
        for file in missing:
            _download(images, file, folder, missing)
    return locate(images)


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


def _from_archive(images: KnownSet, archive: RemoteFile, folder: Path) -> None:
    """Take the files of a set out of its archive, which is dropped if we fetched it."""
    path = folder / archive.name
    by_hand = path.is_file()
    if not by_hand:
        _download(images, archive, folder, [archive])
    try:
        for name, contents in _members(path, [file.name for file in images.files.values()]):
            write_bytes(folder / name, contents)
    except (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, gzip.BadGzipFile) as error:
        raise FileFormatError(f"{path}: not a whole zip or tar file: {error}") from error
    except KeyError as error:
        raise FileFormatError(f"{path}: holds no {error}") from error
    if not by_hand:
        path.unlink()  # half a gigabyte, of which 5 % was wanted


def _members(path: Path, names: list[str]) -> Iterator[tuple[str, bytes]]:
    """Yield files of an archive by their names, in whatever folder of it; KeyError without one."""
    if path.name.endswith(".tar.gz"):
        with tarfile.open(path) as tar:
            files = {Path(each.name).name: each for each in tar if each.isfile()}
            for name in names:
                yield name, cast("IO[bytes]", tar.extractfile(files[name])).read()
        return
    with zipfile.ZipFile(path) as bundle:
        members = {Path(member).name: member for member in bundle.namelist()}
        for name in names:
            yield name, bundle.read(members[name])


def _download(
    images: KnownSet, file: RemoteFile, folder: Path, missing: Sequence[RemoteFile]
) -> None:
    """Fetch one file from the first mirror that gives the right one."""
    failures = []
    for mirror in images.mirrors:
        try:
            return _retrieve(mirror + file.name, file, folder)
        except (OSError, ValueError) as error:  # network and disk; a wrong sum
            failures.append(f"{mirror}: {_first_line(error)}")
    names = ", ".join(f.name for f in missing)
    raise DataUnavailableError(
        f"{images.name} is not on this machine and could not be fetched: put {names} from "
        f"{' or '.join(images.mirrors)} into {folder} (tried {'; '.join(failures)})"
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
    """Import pooch when it is first needed: most runs have their data already."""
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
