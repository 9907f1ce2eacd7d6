"""denseam guard review: list, view, label and export what a served guard has set aside.

Look through the quarantine of `denseam guard serve`.
"""

import argparse
import re
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from denseam.cli.common import check_count, check_file, foreign, print_json, say_next, stdout
from denseam.cli.parsing import add_command, add_group
from denseam.cli.tables import FittedTable
from denseam.errors import InputError
from denseam.files import write_bytes
from denseam.guard import REASONS
from denseam.guard.server import Settings

_JUNK = "junk"
_PAGE = 200
_DIGITS = 9  # of a class
_HEX, _SHORT = 32, 8  # digits of an id, and of what is printed of it


def add_to(parser: argparse.ArgumentParser, _: Sequence[str] | None) -> None:
    """Declare what the command can do."""
    actions = add_group(parser, "action", "ACTION")
    listing = _action(actions, "list", "list the newest items", _list, "list --unlabelled")
    _add_kind(listing)
    listing.add_argument("--count", type=int, default=50, help="(default: %(default)s)")
    show = _action(actions, "show", "show an item and its picture", _show, "show ID --out item.png")
    show.add_argument("id", metavar="ID", help="of the item, or its beginning")
    show.add_argument("--out", type=Path, help="the picture as a .png file")
    label = _action(actions, "label", "say what an item is", _label, "label ID 7")
    label.add_argument("id", metavar="ID", help="of the item, or its beginning")
    label.add_argument("label", metavar="LABEL", help="a class; junk; none to take it back")
    export = _action(
        actions, "export", "write the items with a class for a label as an image set", _export,
        "export reviewed.npz",
    )  # fmt: skip
    export.add_argument("out", type=Path, metavar="OUT", help=".npz or .safetensors")
    export.add_argument("--model", metavar="NAME", help="only items of the guard of that name")
    delete = _action(actions, "delete", "delete items, labelled or not", _delete, "delete ID ID")
    delete.add_argument("ids", nargs="+", metavar="ID", help="of an item, or its beginning")


def _action(
    actions: Any, name: str, summary: str, run: Any, example: str
) -> argparse.ArgumentParser:
    text = "Reads the database itself: no server need run."
    parser = add_command(actions, name, summary, text, f"denseam guard review {example}")
    default = Settings().database
    parser.add_argument(
        "--database", metavar="PATH|URL", default=default,
        help="of the quarantine (default: %(default)s)",
    )  # fmt: skip
    parser.set_defaults(run=run)
    return parser


def _add_kind(parser: argparse.ArgumentParser) -> None:
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument(
        "--labelled", action="store_const", const=True, help="only those with a label"
    )
    kind.add_argument(
        "--unlabelled", dest="labelled", action="store_const", const=False,
        help="only those without",
    )  # fmt: skip
    parser.add_argument("--reason", choices=REASONS, help="only those set aside for it")


def _list(args: argparse.Namespace) -> int:
    check_count(args.count)
    store, kind = _store(args), {"labelled": args.labelled, "reason": args.reason}
    items, total = store.list(limit=args.count, **kind), store.count(**kind)
    if args.json:
        print_json({"total": total, "items": [_facts(item) for item in items]})
        return 0
    short = _short_ids([str(item.id) for item in items])
    rows = [
        (
            short[str(item.id)], f"{item.received_at:%Y-%m-%d %H:%M:%S}", foreign(item.reason),
            "" if item.score is None else f"{item.score:.4g}", f"{item.p_value:.4g}",
            str(item.detector_label), foreign(item.source or item.address or ""),
            _named(item.label),
        )
        for item in items
    ]  # fmt: skip
    columns = ("id", "received (UTC)", "reason", "score", "p-value", "detector", "source", "label")
    title = f"{len(items)} of {total} items"
    stdout.print(FittedTable(title, columns, rows, left=[0, 1, 2, 6, 7], drop=[6, 3, 5, 1]))
    if items:
        _say_next(args, "show", rows[0][0])
    else:
        say_next("guard", "serve", "--database", args.database)
    return 0


def _show(args: argparse.Namespace) -> int:
    from denseam.guard.server.quarantine.export import in_blocks, png  # noqa: PLC0415 (an extra)

    check_file(args.out, ".png")
    store = _store(args)
    item = _found(store.get(_id(store, args.id)), args.id)
    if args.out is not None:
        write_bytes(args.out, png(item.grey()))
    if args.json:
        print_json(_facts(item))
        return 0
    for name, value in _facts(item).items():
        stdout.print(foreign(f"{name}: {'' if value is None else value}"))
    stdout.print(in_blocks(item.grey()))
    _say_next(args, "label", args.id, _JUNK if item.label is None else "none")
    return 0


def _label(args: argparse.Namespace) -> int:
    words = {_JUNK: -1, "none": None}
    if args.label not in words and not (args.label.isdecimal() and len(args.label) <= _DIGITS):
        raise InputError(f"label {args.label}: wanted a class, junk or none")
    label = words[args.label] if args.label in words else int(args.label)
    store = _store(args)
    item = _found(store.label(_id(store, args.id), label), args.id)
    if args.json:
        print_json(_facts(item))
    else:
        stdout.print(f"{item.id}: {_named(item.label) or 'no label'}")
        _say_next(args, "list", "--unlabelled")
    return 0


def _export(args: argparse.Namespace) -> int:
    from denseam.guard.server import image_set  # noqa: PLC0415 (an extra)

    check_file(args.out)
    store, items, last = _store(args), [], None
    while page := store.list(limit=_PAGE, labelled=True, before=last):
        last = page[-1].id
        items += [item for item in page if args.model in (None, item.model)]
    images, left_out = image_set(items)
    images.save(args.out)
    facts = {"out": str(args.out), "images": len(images), "no_images": left_out}
    if args.json:
        print_json({**facts, "junk": sum(item.label == -1 for item in items)})
        return 0
    stdout.print(foreign(f"{len(images)} images in {args.out}"))
    if left_out:
        stdout.print(f"{left_out} items have pixels that no image has, and were left out")
    say_next("data", args.out)
    return 0


def _delete(args: argparse.Namespace) -> int:
    store = _store(args)
    count = store.delete([_id(store, each) for each in args.ids])
    if args.json:
        print_json({"deleted": count})
    else:
        stdout.print(f"{count} of {len(args.ids)} items deleted")
        _say_next(args, "list")
    return 0


def _say_next(args: argparse.Namespace, *words: str) -> None:
    """Name a command on the same quarantine to go on with."""
    usual = args.database == Settings().database
    say_next("guard", "review", *words, *([] if usual else ["--database", args.database]))


def _store(args: argparse.Namespace) -> Any:
    from denseam.guard.server import Store  # noqa: PLC0415 (an extra)

    store = Store(args.database)
    store.create(new=False)
    return store


def _facts(item: Any) -> dict[str, Any]:
    """Return all fields but the pixels, as plain JSON values."""
    names = [name for name in item.__struct_fields__ if name != "pixels"]
    return {name: _plain(getattr(item, name)) for name in names}


def _plain(value: Any) -> Any:
    return value if isinstance(value, int | float | str | None) else str(value)


def _named(label: int | None) -> str:
    return {None: "", -1: _JUNK}.get(label, str(label))


def _found(item: Any, identifier: str) -> Any:
    if item is None:
        raise InputError(f"no item {identifier} in the quarantine")
    return item


def _id(store: Any, text: str) -> uuid.UUID:
    """Return the id that a text is, or is the beginning of, as in git.

    Raises:
        InputError: for no id, and for the beginning of none or of several.
    """
    digits = text.replace("-", "").lower()
    if not re.fullmatch(r"[0-9a-f]{1,32}", digits):
        raise InputError(f"id {text}: wanted a UUID, or its beginning, as `review list` prints it")
    if len(digits) == _HEX:
        return uuid.UUID(digits)
    ids = store.starting_with(digits)
    if not ids:
        raise InputError(f"no item {text} in the quarantine")
    if len(ids) > 1:
        raise InputError(f"id {text} is the beginning of several: {', '.join(map(str, ids))}")
    return uuid.UUID(str(ids[0]))


def _short_ids(ids: Sequence[str]) -> dict[str, str]:
    """Return the beginning of each id that is long enough to tell it from the others."""
    length = _SHORT
    while len({each[:length] for each in ids}) < len(set(ids)):
        length += 1
    return {each: each[:length] for each in ids}
