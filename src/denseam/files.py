"""Atomic files: whole or absent. Bytes, JSON, and tensors with JSON beside them.

Models and checkpoints are safetensors files. Their facts are one JSON text under the key "denseam"
of the header, with a ``kind`` that says what the file is. Nothing is ever unpickled.
"""

import contextlib
import hashlib
import json
import os
import secrets
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import safetensors
import safetensors.torch
import torch
from filelock import FileLock, Timeout
from torch import Tensor

from denseam.errors import DataUnavailableError, FileFormatError, RunFolderError, SaveError

__all__ = [
    "checked_facts",
    "held_folder",
    "held_if_free",
    "load_tensors",
    "read_json",
    "save_tensors",
    "there_is",
    "write_bytes",
    "write_json",
]

_KEY = "denseam"
FORMAT_VERSION = 1


@contextlib.contextmanager
def _replacement(path: Path) -> Iterator[IO[bytes]]:
    """Open a file that replaces ``path`` when the block ends without an error.

    Until then, and after a crash at any moment, ``path`` is unchanged. The contents reach the disk
    before the name does.

    Raises:
        SaveError: when the file cannot be written (a full disk, no permission, no such folder).
    """
    temporary = None
    try:
        place = path.parent / f".{path.name}.{secrets.token_hex(8)}"
        # 0o666 as for any other file: the system subtracts the umask of the process.
        descriptor = os.open(place, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
        temporary = place
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        temporary = None
        _sync_folder(path.parent)
    except OSError as error:
        raise SaveError(f"{path} could not be written: {error.strerror or error}") from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def held_folder(folder: Path, doing: str) -> Iterator[None]:
    """Lock a folder, made if it does not exist, against other processes.

    Raises:
        SaveError: when the folder cannot be made.
        RunFolderError: when another process has locked it; the message says it is ``doing`` there.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / ".lock")
        lock.acquire(blocking=False)
    except Timeout as error:
        raise RunFolderError(f"{folder}: another process is {doing} there") from error
    except OSError as error:
        raise SaveError(f"{folder} cannot be made: {error.strerror or error}") from error
    try:
        yield
    finally:
        lock.release()


@contextlib.contextmanager
def held_if_free(lock_file: Path) -> Iterator[bool]:
    """Try to lock a file for the block: yield True, or False if another process has the lock.

    A process that dies gives up its lock. The file is removed at the end of the block, so the next
    process must first look whether anything is left to do. filelock has to be 3.24 or newer: older
    ones accept a file that was removed between opening and locking it, and let two processes in.

    Raises:
        SaveError: when the lock's folder cannot be made, or written to.
    """
    lock = FileLock(lock_file)
    try:
        lock_file.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(blocking=False)
    except Timeout:
        yield False
        return
    except OSError as error:
        raise SaveError(f"{lock_file} cannot be made: {error.strerror or error}") from error
    try:
        yield True
    finally:
        lock_file.unlink(missing_ok=True)
        lock.release()


def there_is(path: str | os.PathLike[str]) -> bool:
    """Return whether a path exists; False for a name that no file can have, such as a long one."""
    return os.path.exists(path)  # noqa: PTH110 (Path.exists raises there)


def write_bytes(path: Path, contents: bytes) -> None:
    """Write a file atomically: after any failure ``path`` is the old file.

    Raises:
        SaveError: when it cannot be written; the old file is unchanged.
    """
    with _replacement(path) as file:
        file.write(contents)


def write_json(path: Path, value: Any) -> None:
    """Write readable JSON atomically; see ``write_bytes``."""
    write_bytes(path, (json.dumps(value, indent=2, allow_nan=False) + "\n").encode())


def read_json(path: Path) -> Any:
    """Return the value in a JSON file.

    Raises:
        FileFormatError: when it is not JSON.
    """
    try:
        return json.loads(path.read_bytes())
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise FileFormatError(f"{path} is not a whole JSON file: {error}") from error


def save_tensors(
    path: Path, kind: str, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]
) -> None:
    """Write tensors and JSON-able facts atomically to one safetensors file.

    Raises:
        SaveError: when the file cannot be written; the old one is unchanged.
    """
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    described = {"kind": kind, "version": FORMAT_VERSION, "sha256": _digest(plain), **facts}
    header = json.dumps(described, allow_nan=False)
    write_bytes(path, safetensors.torch.save(plain, metadata={_KEY: header}))


@contextlib.contextmanager
def _in_utf8(path: Path) -> Iterator[Path]:
    """Yield a path of the file that safetensors can open: it takes names in UTF-8 alone."""
    if not any("\udc80" <= character <= "\udcff" for character in os.fspath(path)):
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        link = Path(folder, "link")
        link.symlink_to(path.absolute())
        yield link


def _aligned(tensor: Tensor) -> Tensor:
    """Return a tensor that begins at a multiple of 64 bytes, as PyTorch's own do.

    At other addresses products are slower and may add in another order.
    """
    return tensor.clone() if tensor.data_ptr() % 64 else tensor


def load_tensors(path: Path, *kinds: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the tensors and facts of a file that ``save_tensors`` wrote, of one of some kinds.

    Raises:
        DataUnavailableError: when there is no such file.
        FileFormatError: when it is truncated, damaged, of another kind or of another program.
    """
    kind = kinds[0]
    try:
        with _in_utf8(path) as name, safetensors.safe_open(name, framework="pt") as file:
            facts = json.loads((file.metadata() or {}).get(_KEY, "null"))
            names = list(file.keys())
            tensors = {name: _aligned(file.get_tensor(name)) for name in names}
    except FileNotFoundError as error:
        raise DataUnavailableError(f"there is no file {path}") from error
    except IsADirectoryError as error:
        raise FileFormatError(f"{path} is a folder, wanted a denseam {kind} file") from error
    except (safetensors.SafetensorError, ValueError, RecursionError, OSError) as error:
        raise FileFormatError(
            f"{path} is not a whole denseam {kind} file (truncated, garbled or of another "
            f"program): {error}"
        ) from error
    facts = checked_facts(path, kinds, facts)
    if facts.pop("sha256", None) not in (None, _digest(tensors)):
        raise FileFormatError(f"{path}: the numbers in it are not the ones that were written")
    return tensors, facts


def checked_facts(path: Path, kinds: Sequence[str], facts: Any) -> dict[str, Any]:
    """Return the facts of a file, if they are of these kinds and of a version that we can read.

    Raises:
        FileFormatError: for those of another kind, of another program, or of a newer version.
    """
    if not isinstance(facts, dict) or facts.get("kind") not in kinds:
        actual = facts.get("kind") if isinstance(facts, dict) else "a file of another program"
        raise FileFormatError(f"{path}: wanted a denseam {kinds[0]} file, found {actual}")
    version = facts.get("version")
    if not isinstance(version, int):
        raise FileFormatError(f"{path}: format version {version!r}, wanted a whole number")
    if version > FORMAT_VERSION:
        raise FileFormatError(
            f"{path} has format version {version}, this denseam reads up to "
            f"{FORMAT_VERSION}: install a newer one"
        )
    return facts


def _digest(tensors: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 of the contents: safetensors itself has no checksum."""
    sha = hashlib.sha256()
    for name in sorted(tensors):
        sha.update(name.encode())
        sha.update(tensors[name].contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return sha.hexdigest()


def _sync_folder(folder: Path) -> None:
    """Make a rename survive a power failure, where the system can."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
