"""What the commands below `denseam guard` share: strangers' words, and checks of what was given."""

from pathlib import Path

from rich.text import Text

from denseam.errors import InputError

__all__ = ["check_count", "check_folder", "foreign"]

_MOST = 2**31 - 1  # that a database and a slice take


def foreign(words: str) -> Text:
    """A stranger's words as they stand: no markup, and what cannot be printed as its escape."""
    return Text("".join(c if c.isprintable() else _escaped(c) for c in words))


def check_count(count: int | None) -> None:
    """InputError unless ``--count`` is a number of images, or was not given."""
    if count is None or 1 <= count <= _MOST:
        return
    wanted = "at least 1" if count < 1 else f"at most {_MOST}"
    raise InputError(f"--count {count}: wanted {wanted}")


def check_folder(path: Path | None) -> None:
    """InputError where there is no folder for a file; said before the work begins, not after."""
    if path is not None and not path.absolute().parent.is_dir():
        raise InputError(f"{path}: no such folder {path.absolute().parent}")


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode()
