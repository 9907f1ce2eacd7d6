"""Command-line options made from a dataclass's fields or a function's parameters.

Names, types, choices, defaults and help are written once, where the field or parameter is:

    STEPS = from_signature(cross_boundary, "step", "norm", "max_steps")
    RECIPE = from_fields(Recipe)                    # all fields; or some, by name
    add_flags(parser.add_argument_group("path"), STEPS)
    cross_boundary(model, visible, **typed(args, STEPS))

* Help is what the docstring's "Args:" or "Attributes:" section says, with the default behind it.
* A ``Literal`` gives choices; ``X | None`` is an ``X``; ``Sequence[X]`` takes one value or more.
* ``bool`` gives ``--name`` where False is the default, and ``--no-name`` where True is.
* Options that were not typed are None in ``args`` and left out by ``typed``: the defaults of the
  function or dataclass hold, and are not repeated in the command.
* A field's ``metadata`` may name its "choices" and its "option" (without dashes).
* A flag is a frozen dataclass: ``dataclasses.replace(flag, help=...)`` changes one for a command.
"""

import argparse
import dataclasses
import inspect
import re
import types
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from denseam.checks import exact

__all__ = ["Flag", "add_flags", "from_fields", "from_signature", "summary", "typed"]

_REQUIRED = inspect.Parameter.empty


@dataclass(frozen=True)
class Flag:
    """One option of a command, and the field or parameter that it sets.

    Attributes:
        name: of the field or parameter, and of the attribute of the parsed arguments.
        option: as it is typed, without the dashes in front.
        kind: the type of one value.
        default: of the field or parameter, shown in the help; not given to the parser.
        help: what it means, without the default.
        choices: the values it may have; any if empty.
        several: whether it takes one value or more.
    """

    name: str
    option: str
    kind: type
    default: Any = _REQUIRED
    help: str = ""
    choices: Collection[str] = ()
    several: bool = False


def from_signature(function: Callable[..., Any], *names: str) -> tuple[Flag, ...]:
    """Return flags for parameters of a function, in the order of ``names``."""
    parameters = inspect.signature(function).parameters
    hints, texts = get_type_hints(function), described(function)
    return tuple(
        _flag(name, hints[name], parameters[name].default, texts.get(name, "")) for name in names
    )


def from_fields(cls: type, *names: str) -> tuple[Flag, ...]:
    """Return flags for fields of a dataclass: those in ``names``, or all."""
    fields = {field.name: field for field in dataclasses.fields(cls)}
    hints, texts = get_type_hints(cls), described(cls)
    return tuple(
        _flag(
            name,
            hints[name],
            _REQUIRED if fields[name].default is dataclasses.MISSING else fields[name].default,
            texts.get(name, ""),
            fields[name].metadata,
        )
        for name in names or fields
    )


def add_flags(parser: Any, flags: Iterable[Flag], *, filled: bool = False) -> None:
    """Declare the flags on a parser, or on a group of one.

    With ``filled``, options that were not typed have their defaults in ``args``, not None.
    """
    for flag in flags:
        default = "" if flag.default in (None, _REQUIRED) else f" (default: {_shown(flag.default)})"
        value = flag.default if filled and flag.default is not _REQUIRED else None
        options: dict[str, Any] = {"dest": flag.name, "default": value}
        if flag.kind is bool:
            default = ""
            options["action"] = "store_false" if flag.default is True else "store_true"
        else:
            options["type"] = flag.kind
            options["choices"] = flag.choices or None
            options["nargs"] = "+" if flag.several else None
        text = flag.help.replace("%", "%%") + default
        action = parser.add_argument(f"--{flag.option}", help=text, **options)
        action.flag = flag  # for tests


def typed(args: argparse.Namespace, flags: Iterable[Flag]) -> dict[str, Any]:
    """Return the values of the options that were typed, by the name of the field or parameter."""
    values = {flag.name: getattr(args, flag.name) for flag in flags}
    return {name: value for name, value in values.items() if value is not None}


def summary(documented: Callable[..., Any]) -> str:
    """Return the first line of a docstring as a phrase: without its capital and its full stop."""
    line = inspect.cleandoc(documented.__doc__ or "").partition("\n")[0].rstrip(".")
    return line[:1].lower() + line[1:]


def described(documented: Callable[..., Any]) -> dict[str, str]:
    """Return what a docstring's "Args:" or "Attributes:" section says of each name."""
    lines = inspect.cleandoc(documented.__doc__ or "").splitlines()
    start = next(
        (i for i, line in enumerate(lines) if line in ("Args:", "Attributes:")), len(lines)
    )
    texts: dict[str, str] = {}
    names: list[str] = []
    for line in lines[start + 1 :]:
        if line and not line.startswith(" "):
            break
        entry = re.match(r" {4}(\w+(?:, \w+)*): (.*)", line)
        if entry:
            names = entry[1].split(", ")
            texts |= dict.fromkeys(names, entry[2])
        elif line:
            texts |= {name: f"{texts[name]} {line.strip()}" for name in names}
    return {name: text.rstrip(".").replace("``", "`") for name, text in texts.items()}


def _flag(
    name: str, hint: Any, default: Any, text: str, metadata: Mapping[str, Any] | None = None
) -> Flag:
    more = metadata or {}
    kind, several = _kind(hint)
    choices = more.get("choices", ())  # the table itself: it may grow
    if get_origin(kind) is Literal:
        choices, kind = get_args(kind), str
    option = more.get("option", name).replace("_", "-")
    if kind is bool and default is True:
        option = f"no-{option}"
    return Flag(name, option, kind, default, text, choices, several)


def _kind(hint: Any) -> tuple[Any, bool]:
    """Return the type of one value, and whether there may be several."""
    kinds = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    kinds = tuple(kind for kind in kinds if kind is not types.NoneType)
    several = [get_args(kind)[0] for kind in kinds if get_origin(kind) in (Sequence, list, tuple)]
    return (several or kinds)[0], bool(several)


def _shown(value: Any) -> str:
    if isinstance(value, Sequence) and not isinstance(value, str):
        return " ".join(map(_shown, value)) or "none"
    return exact(value) if isinstance(value, float) else f"{value}"
