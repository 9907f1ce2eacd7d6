"""What a mistyped word was probably meant to be."""

import difflib
from collections.abc import Iterable

__all__ = ["nearest", "suggestion"]


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Return the known word that ``word`` is most like, whatever its case; None if none is.

    >>> nearest("minst-n30", ["mnist-n2", "mnist-n30"])
    'mnist-n30'
    """
    words = {each.lower(): each for each in known}
    near = difflib.get_close_matches(word.lower(), words, n=1)
    return words[near[0]] if near else None


def suggestion(word: str, known: Iterable[str]) -> str:
    """Return "; did you mean NEAREST?" to end a message with; nothing where no word is near.

    >>> suggestion("fashon-mnist", ["mnist", "fashion-mnist"])
    '; did you mean fashion-mnist?'
    """
    near = nearest(word, known)
    return "" if near is None else f"; did you mean {near}?"
