"""What is written to the terminal, or to whatever stands in its place."""

import os
import re
from typing import Any, NoReturn

import rich.console
from rich.cells import cell_len
from rich.text import Text

__all__ = ["Console", "broken", "foreign", "percent", "stderr", "stdout"]

# Of several processes that `torchrun` started one speaks; see ``common.job``.
_SILENT = "WORLD_SIZE" in os.environ and os.environ.get("RANK", "0") != "0"


class Console(rich.console.Console):
    """A console that never cuts a word: a terminal gets lines broken at blanks, a file whole ones.

    Without markup: names of files, classes and sets come from users. Styles are ``Text``.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(highlight=False, markup=False, quiet=_SILENT, **options)

    def print(self, *objects: Any, **options: Any) -> None:
        """Print as ``rich`` does, words whole; with ``soft_wrap=True`` lines too, for commands."""
        if self.is_terminal and not options.get("soft_wrap"):
            objects = tuple(
                broken(each, self.width) if isinstance(each, str | Text) else each
                for each in objects
            )
        super().print(*objects, **{**options, "soft_wrap": True})

    def on_broken_pipe(self) -> NoReturn:
        """Leave it to ``main``, which is quiet about it."""
        raise BrokenPipeError


def broken(words: str | Text, width: int) -> Text:
    """Return text with its lines broken at blanks; a word wider than ``width`` stays whole."""
    lines: list[Text] = []
    for line in (words if isinstance(words, Text) else Text(words)).split("\n", allow_blank=True):
        offsets, used = list[int](), 0
        for word in re.finditer(r"\S+\s*", line.plain):
            if used and used + cell_len(word[0].rstrip()) > width:
                offsets.append(word.start())
                used = 0
            used += cell_len(word[0])
        lines += line.divide(offsets)
    for line in lines:
        line.rstrip()
    return Text("\n").join(lines)


stdout = Console()
stderr = Console(stderr=True)


def foreign(words: str) -> Text:
    """Return words of a user as they are: no markup, unprintable characters as their escapes."""
    return Text(
        "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in words)
    )


def percent(fraction: float) -> str:
    """Return a fraction as the paper writes it."""
    return f"{100 * fraction:.2f} %"
