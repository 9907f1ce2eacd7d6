"""A journal of items on the disk: what is appended is there after a crash.

A folder holds one folder for each process that writes, which is named by 32 hexadecimal digits and
holds a lock, and in that numbered files of frames, each an Item as msgpack. Nothing else in it is
touched, whoever put it there.

Only the last frames of a file can be torn, by a crash while they were being written, and those were
never acknowledged. After an error nothing more is written to the same file.
"""

import contextlib
import os
import re
import threading
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from denseam.errors import RunFolderError, SaveError
from denseam.files import held_folder
from denseam.guard.server.quarantine.frames import framed, whole
from denseam.guard.server.quarantine.items import Item

__all__ = ["Contents", "Spool"]

_FILE_BYTES = 4 << 20
_FOLDER = re.compile(r"[0-9a-f]{32}")
_LOCK = ".lock"  # of ``held_folder``
_FILES = f"{'[0-9]' * 8}.frames"
_BEGIN = b"\xde\x00\x12\xa2id"  # of an Item: a map of 18 keys, the first of which is its id
_TRIES = 100  # folders of our own that others may take for abandoned ones
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Item).decode


class Contents(NamedTuple):
    """What a file holds.

    Attributes:
        items: that are whole.
        wrong: why others are not; None where only the end is torn, or nothing is wrong.
    """

    items: list[Item]
    wrong: str | None


class Spool:
    """The journal of one process; it also takes over those of processes that are gone.

    Args:
        folder: of all journals; is made where it does not exist.
        max_bytes: that this process may have there.

    Raises:
        SaveError: when the folder cannot be made.
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self._folder, self._max_bytes = folder, max_bytes
        self._mutex = threading.Lock()
        self._held = contextlib.ExitStack()
        self._own = self._claimed()
        self._adopted: set[Path] = set()
        self._sizes: dict[Path, tuple[int, int]] = {}  # bytes and items of each file
        self._file: int | None = None
        self._path = self._own
        self._number = 0

    @property
    def n_bytes(self) -> int:
        """How much is in the journal, whoever began it."""
        return sum(size for size, _ in self._sizes.copy().values())

    @property
    def n_items(self) -> int:
        """How many items that is."""
        return sum(items for _, items in self._sizes.copy().values())

    def append(self, items: Sequence[Item]) -> None:
        """Write items; they are on the disk when this returns.

        Raises:
            SaveError: when they cannot be written, or the journal is full; some may be there then.
        """
        frames = b"".join(framed(_encode(item)) for item in items)
        with self._mutex:
            if (held := self.n_bytes) + len(frames) > self._max_bytes:
                raise SaveError(f"{self._folder} holds {held} bytes, the most that it may")
            try:
                file = self._open()
                if os.write(file, frames) < len(frames):
                    raise OSError("the disk took a part of it")  # noqa: TRY301
                os.fsync(file)
            except OSError as error:
                self._close()
                raise SaveError(f"{self._folder}: {error.strerror or error}") from error
            size, count = self._sizes[self._path]
            self._sizes[self._path] = size + len(frames), count + len(items)
            if size + len(frames) >= _FILE_BYTES:
                self._close()

    def files(self) -> list[Path]:
        """Files that are ready to be read, the oldest first, those of dead processes among them."""
        for folder in self._folder.iterdir():
            if folder != self._own and folder not in self._adopted and _is_journal(folder):
                self._adopt(folder)
        found = [path for folder in self._adopted for path in folder.glob(_FILES)]
        with self._mutex:  # or an item is appended to a file that is found here, and removed soon
            self._close()
            found += self._own.glob(_FILES)
        return sorted(found, key=lambda path: (path.stat().st_mtime_ns, path.name))

    def read(self, path: Path) -> Contents:
        """The items of a file; a torn end is left out."""
        payloads, damaged = whole(path.read_bytes(), _BEGIN)
        items, wrong = [], "a part of it is damaged" if damaged else None
        for payload in payloads:
            try:
                items.append(_decode(payload))
            except msgspec.MsgspecError as error:
                wrong = f"it is no journal of this denseam: {error}"
        return Contents(items, wrong)

    def remove(self, path: Path) -> None:
        """Forget a file: its items are elsewhere now."""
        with self._mutex:
            path.unlink()
            self._sizes.pop(path, None)
            self._tidy(path.parent)

    def set_aside(self, path: Path) -> Path:
        """Keep a file with what is wrong in it, no longer in the way; returns its name."""
        with self._mutex:
            kept = path.rename(self._folder / f"{path.parent.name}-{path.stem}.refused")
            self._sizes.pop(path, None)
            self._tidy(path.parent)
        return kept

    def close(self) -> None:
        """Let go; what is left is taken over by the next server."""
        with self._mutex:
            self._close()
            self._adopted.add(self._own)
            self._tidy(self._own)
            self._held.close()

    def _claimed(self) -> Path:
        """A folder of our own, held.

        Raises:
            SaveError: when there is none to be had.
        """
        for _ in range(_TRIES):
            folder = self._folder / uuid.uuid4().hex
            with contextlib.suppress(RunFolderError):  # somebody thought that it was abandoned
                self._held.enter_context(held_folder(folder, "keeping a journal"))
                _sync(self._folder)
                _sync(self._folder.parent)
                return folder
        raise SaveError(f"{self._folder}: another process holds whatever is made there")

    def _open(self) -> int:
        if self._file is None:
            self._number += 1
            self._path = self._own / f"{self._number:08d}.frames"
            self._file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            self._sizes[self._path] = 0, 0
            _sync(self._own)
        return self._file

    def _close(self) -> None:
        if self._file is not None:
            with contextlib.suppress(OSError):
                os.close(self._file)
            self._file = None

    def _adopt(self, folder: Path) -> None:
        """Take a journal over whose process is gone."""
        try:
            self._held.enter_context(held_folder(folder, "keeping a journal"))
        except (RunFolderError, SaveError):
            return
        self._adopted.add(folder)
        for path in folder.glob(_FILES):
            self._sizes[path] = path.stat().st_size, len(self.read(path).items)
        self._tidy(folder)

    def _tidy(self, folder: Path) -> None:
        """Remove the folder of a journal that is empty; one with something else in it stays."""
        if folder in self._adopted and not any(folder.glob(_FILES)):
            with contextlib.suppress(OSError):
                (folder / _LOCK).unlink(missing_ok=True)
                folder.rmdir()
            self._adopted.discard(folder)


def _is_journal(folder: Path) -> bool:
    """Whether a folder is one that a server has made."""
    return bool(_FOLDER.fullmatch(folder.name)) and (folder / _LOCK).is_file()


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
