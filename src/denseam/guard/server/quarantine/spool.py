"""A journal of items on the disk: what was appended is there after a crash.

A folder holds one folder for each process that writes. That is named by 32 hexadecimal digits and
has a lock and numbered files of frames; a frame is an Item as msgpack. Nothing else is touched.

A crash tears at most the last frames of a file, which were never acknowledged. After an error
nothing more is written to the same file.

SQLite would not do here. With a write-ahead log it is as fast, but one changed bit in that log
loses all items behind it without an error; its other journals take five times as long.
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

_FILE_BYTES = 4 << 20
_FOLDER = re.compile(r"[0-9a-f]{32}")
_LOCK = ".lock"  # of ``held_folder``
_FILES = f"{'[0-9]' * 8}.frames"
_BEGIN = b"\xde\x00\x12\xa2id"  # of an Item: a map of 18 keys, the first of which is its id
_TRIES = 100  # new folders that others may take for abandoned ones
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Item).decode


class Contents(NamedTuple):
    """The whole items of a file, and what is wrong with others; a torn end is not wrong."""

    items: list[Item]
    wrong: str | None


class Spool:
    """The journal of one process, and those of dead processes that it has taken over.

    Args:
        folder: of all journals; it is made where it does not exist.
        max_bytes: the most that this process may have there.

    Raises:
        SaveError: when the folder cannot be made.
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self._folder, self._max_bytes = folder, max_bytes
        self._mutex = threading.Lock()
        self._held = contextlib.ExitStack()
        self._home = self._claimed()
        self._adopted: set[Path] = set()
        self._sizes: dict[Path, tuple[int, int]] = {}  # bytes and items of each file
        self._file: int | None = None
        self._path = self._home
        self._number = 0

    @property
    def n_bytes(self) -> int:
        """Return the bytes in the journal, those of dead processes among them."""
        return sum(size for size, _ in self._sizes.copy().values())

    @property
    def n_items(self) -> int:
        """Return the number of items in the journal."""
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
        """Return the files that can be read, the oldest first; dead processes' too."""
        for folder in self._folder.iterdir():
            if folder != self._home and folder not in self._adopted and _is_journal(folder):
                self._adopt(folder)
        paths = [path for folder in self._adopted for path in folder.glob(_FILES)]
        with self._mutex:  # or an item is appended to a file of this list, which is removed soon
            self._close()
            paths += self._home.glob(_FILES)
        return sorted(paths, key=lambda path: (path.stat().st_mtime_ns, path.name))

    def read(self, path: Path) -> Contents:
        """Return the items of a file without a torn end."""
        payloads, damaged = whole(path.read_bytes(), _BEGIN)
        items, wrong = [], "a part of it is damaged" if damaged else None
        for payload in payloads:
            try:
                items.append(_decode(payload))
            except msgspec.MsgspecError as error:
                wrong = f"it is no journal of this denseam: {error}"
        return Contents(items, wrong)

    def remove(self, path: Path) -> None:
        """Delete a file whose items are elsewhere now."""
        path.unlink()  # a large file takes tens of ms: append does not wait for it
        with self._mutex:
            self._sizes.pop(path, None)
            self._tidy(path.parent)

    def set_aside(self, path: Path) -> Path:
        """Move a damaged file out of the way; return its new name."""
        with self._mutex:
            kept = path.rename(self._folder / f"{path.parent.name}-{path.stem}.refused")
            self._sizes.pop(path, None)
            self._tidy(path.parent)
        return kept

    def close(self) -> None:
        """Let go; the next server takes over what is left."""
        with self._mutex:
            self._close()
            self._adopted.add(self._home)
            self._tidy(self._home)
            self._held.close()

    def _claimed(self) -> Path:
        """Make and hold a folder for this process."""
        for _ in range(_TRIES):
            folder = self._folder / uuid.uuid4().hex
            with contextlib.suppress(RunFolderError):  # another process took it for abandoned
                self._held.enter_context(held_folder(folder, "keeping a journal"))
                _sync(self._folder)
                _sync(self._folder.parent)
                return folder
        raise SaveError(f"{self._folder}: another process holds every new folder there")

    def _open(self) -> int:
        if self._file is None:
            self._number += 1
            self._path = self._home / f"{self._number:08d}.frames"
            self._file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            self._sizes[self._path] = 0, 0
            _sync(self._home)
        return self._file

    def _close(self) -> None:
        if self._file is not None:
            with contextlib.suppress(OSError):
                os.close(self._file)
            self._file = None

    def _adopt(self, folder: Path) -> None:
        """Take over a journal whose process has died."""
        try:
            self._held.enter_context(held_folder(folder, "keeping a journal"))
        except (RunFolderError, SaveError):
            return
        self._adopted.add(folder)
        for path in folder.glob(_FILES):
            self._sizes[path] = path.stat().st_size, len(self.read(path).items)
        self._tidy(folder)

    def _tidy(self, folder: Path) -> None:
        """Remove a journal's folder that has no files; one with other files stays."""
        if folder in self._adopted and not any(folder.glob(_FILES)):
            with contextlib.suppress(OSError):
                (folder / _LOCK).unlink(missing_ok=True)
                folder.rmdir()
            self._adopted.discard(folder)


def _is_journal(folder: Path) -> bool:
    """Return whether a server made a folder."""
    return bool(_FOLDER.fullmatch(folder.name)) and (folder / _LOCK).is_file()


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
