"""`denseam guard review` of items with strange words in them."""

import pytest
import torch
from guard import small
from rich.console import Console

from denseam import data
from denseam.cli.guard import review
from denseam.data import ImageSet
from denseam.errors import InputError

pytest.importorskip("sqlalchemy")

from denseam.guard.server import Store
from denseam.guard.server.quarantine import items_of
from denseam.guard.server.quarantine.items import Source

WORDS = ["[/x] hi", "[red]all is well[/]", "\x1b[31mred", "[link=http://x]y[/link]"]


@pytest.fixture(scope="module")
def quarantine(tmp_path_factory):
    """A database of four items, and their ids."""
    path = tmp_path_factory.mktemp("review") / "q.sqlite"
    junk = torch.zeros(1, *small.SHAPE, dtype=torch.uint8)
    verdicts = small.guard().predict(junk)
    assert verdicts.n_rejected == 1
    items = []
    for words in WORDS:
        source = Source(words, "r", None, None)
        items += items_of(junk, verdicts, source, model="m", n_classes=None).values()
    store = Store(str(path))
    store.create(new=True)
    store.add(items)
    return path, [str(item.id) for item in items]


@pytest.fixture
def reviewed(run, quarantine, monkeypatch):
    monkeypatch.setattr(review, "stdout", Console(highlight=False, soft_wrap=True, width=300))

    def call(action, *more):
        return run("guard", "review", action, "--database", quarantine[0], *more)

    return call


def test_sources_are_printed_as_they_are(reviewed, quarantine):
    code, out, _ = reviewed("list")
    assert code == 0
    for words in ("[/x] hi", "[red]all is well[/]", "\\x1b[31mred", "[link=http://x]y[/link]"):
        assert words in out
    code, out, _ = reviewed("show", quarantine[1][2])
    assert code == 0
    assert "source: \\x1b[31mred\n" in out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ("list", "--count", 10**20),
            "count = 100000000000000000000: wanted a whole number",
        ),
        (("list", "--count", 0), "count = 0: wanted a whole number >= 1"),
        (("label", "ID", "9" * 20), "wanted a class, junk or none"),
        (("label", "ID", "9" * 5000), "wanted a class, junk or none"),
        (("export", "no/out.npz"), "no/out.npz: no such folder"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(reviewed, quarantine, arguments, said):
    code, out, err = reviewed(*(quarantine[1][0] if a == "ID" else a for a in arguments))
    assert (code, out) == (2, "")
    assert said in err
    assert err.count("\n") == 1


def test_what_is_exported_joins_the_old_images_to_calibrate_anew(reviewed, quarantine, tmp_path):
    code, *_ = reviewed("label", quarantine[1][0], 1)
    assert code == 0
    code, *_ = reviewed("export", tmp_path / "reviewed.npz")
    assert code == 0
    old, new = small.clean(), data.load(tmp_path / "reviewed.npz")
    assert set(new.facts) == {"score", "p_value"}
    with pytest.raises(InputError, match="to concatenate must be alike"):
        ImageSet.concatenate([old, new])
    # As docs/serve.md says.
    guard = small.guard().calibrate(torch.cat([old.visible(), new.visible()]), 0.05)
    assert guard.to_json()["n_calibration"] == (len(old) + len(new) + 1) // 2


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_what_the_list_prints_names_an_item(columns, run, quarantine, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(columns))
    path, ids = quarantine
    code, out, _ = run("guard", "review", "list", "--database", path)
    assert code == 0
    text = " ".join(ids)
    printed = [word for word in out.split() if len(word) > 7 and word in text]
    assert len({*printed}) == len(ids)
    assert max(len(line) for line in out.splitlines() if "next: " not in line) <= columns
    for word in printed:
        code, out, _ = run("guard", "review", "show", word, "--database", path)
        assert code == 0
        assert f"id: {word}" in out


def test_the_beginning_of_an_id_has_to_name_one_item(reviewed, quarantine):
    (first, *_) = ids = quarantine[1]
    code, out, _ = reviewed("show", first[:9].upper())
    assert (code, out.splitlines()[0]) == (0, f"id: {first}")
    code, _, err = reviewed("show", "f" * 31 if not first.startswith("f" * 31) else "0" * 31)
    assert (code, "no item" in err) == (2, True)
    common = [i for i in range(33) if len({each.replace("-", "")[:i] for each in ids}) == 1][-1]
    if common:
        code, _, err = reviewed("delete", first.replace("-", "")[:common])
        assert (code, "the beginning of several" in err) == (2, True)
