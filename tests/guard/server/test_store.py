"""The database: what is stored, found, labelled and deleted; and when it cannot be reached."""

import datetime as dt
import sqlite3
import time
import uuid

import pytest

from denseam.errors import DataUnavailableError, FileFormatError, InputError
from denseam.guard.server.quarantine import DatabaseAwayError, Item, Store

_START = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


def damage(path, place):
    """One bit of a file is another one."""
    contents = bytearray(path.read_bytes())
    contents[place] ^= 64
    path.write_bytes(contents)


def item(minute=0, **more):
    facts = {
        "id": uuid.uuid4(),
        "received_at": _START + dt.timedelta(minutes=minute),
        "model": "guard",
        "n_classes": 10,
        "source": "a client, ü",
        "request_id": "r",
        "address": None,
        "key": None,
        "reason": "low_confidence",
        "score": 1.5,
        "p_value": 0.001,
        "detector_label": 3,
        "dtype": "uint8",
        "height": 2,
        "width": 3,
        "pixels": bytes([0, 1, 2, 3, 254, 255]),
    }
    return Item(**{**facts, **more})


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request, tmp_path):
    if request.param == "sqlite":
        made = Store(str(tmp_path / "q.sqlite"), seconds=0.2)
    else:
        made = Store(request.getfixturevalue("postgres").url, seconds=2)
    made.create(new=True)
    made.delete([each.id for each in made.list(limit=1000)])
    yield made
    made.close()


@pytest.fixture
def elsewhere(monkeypatch):
    """A time zone that is not UTC."""
    with monkeypatch.context() as patched:
        patched.setenv("TZ", "Asia/Tokyo")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.usefixtures("elsewhere")
def test_items_come_back_as_they_were(store):
    first = item(0, dtype="float32", pixels=bytes(24), score=None, source=None)
    second = item(1)
    store.add([first, second])
    assert store.list() == [second, first]
    assert store.get(first.id) == first
    assert store.get(uuid.uuid4()) is None


def test_adding_again_changes_nothing_not_even_a_label(store):
    one = item()
    store.add([one])
    assert store.label(one.id, 7).label == 7
    store.add([one, one])
    assert store.count() == 1
    assert store.get(one.id).label == 7


def test_a_label_is_a_class_or_junk_and_may_be_taken_back(store):
    one = item()
    store.add([one])
    labelled = store.label(one.id, -1)
    assert labelled.label == -1
    assert labelled.reviewed_at.tzinfo is not None
    assert store.label(one.id, None) == one
    for wrong in (10, -2):
        with pytest.raises(InputError, match="0 to 9, or -1"):
            store.label(one.id, wrong)
    assert store.label(uuid.uuid4(), 1) is None


def test_the_list_goes_on_where_it_ended_and_knows_kinds(store):
    same_time = [item(5) for _ in range(3)]
    items = [item(minute) for minute in range(4)] + same_time
    store.add(items)
    wanted = sorted(items, key=lambda each: (each.received_at, each.id.int), reverse=True)
    found, last = [], None
    while page := store.list(limit=2, before=last):
        found += page
        last = page[-1].id
    assert found == wanted
    store.label(items[0].id, 1)
    assert [each.id for each in store.list(labelled=True)] == [items[0].id]
    assert store.count(labelled=False) == 6
    assert store.count(reason="nonfinite") == 0


def test_retention_deletes_old_and_surplus_items_but_none_with_a_label(store):
    now = dt.datetime.now(dt.UTC)
    old = item(received_at=now - dt.timedelta(days=9))
    kept = item(received_at=now - dt.timedelta(days=9))
    new = [item(received_at=now - dt.timedelta(minutes=minute)) for minute in range(4)]
    store.add([old, kept, *new])
    store.label(kept.id, -1)
    assert store.retain(days=0, count=0) == 0
    assert store.retain(days=8, count=0) == 1
    assert store.get(old.id) is None
    assert store.retain(days=8, count=3) == 1
    assert store.list() == [*new[:3], store.get(kept.id)]
    assert store.delete([kept.id, uuid.uuid4()]) == 1


def test_making_it_again_keeps_what_is_there(store):
    store.add([item()])
    store.create(new=True)
    assert store.count() == 1


def test_a_locked_file_is_away_until_it_is_let_go(tmp_path):
    store = Store(str(tmp_path / "q.sqlite"), seconds=0.1)
    store.create(new=True)
    other = sqlite3.connect(tmp_path / "q.sqlite", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(DatabaseAwayError, match="locked"):
        store.add([item()])
    other.execute("ROLLBACK")
    other.close()
    store.add([item()])
    assert store.count() == 1


def test_a_file_that_has_gone_is_not_made_anew(tmp_path):
    store = Store(str(tmp_path / "q.sqlite"))
    store.create(new=True)
    (tmp_path / "q.sqlite").rename(tmp_path / "elsewhere")
    for asked in (store.ping, store.list, lambda: store.add([item()])):
        with pytest.raises(DatabaseAwayError):
            asked()
    assert not (tmp_path / "q.sqlite").exists()
    (tmp_path / "elsewhere").rename(tmp_path / "q.sqlite")
    store.add([item()])


def test_what_was_committed_to_a_file_that_lost_its_name_is_not_stored(tmp_path, monkeypatch):
    store = Store(str(tmp_path / "q.sqlite"))
    store.create(new=True)
    inodes = iter([1, 2])
    monkeypatch.setattr(Store, "_inode", lambda self: next(inodes))
    with pytest.raises(DatabaseAwayError, match="replaced"):
        store.add([item()])


def test_a_database_that_is_none_is_refused(tmp_path):
    for wrong in ("mysql://a/b", "sqlite://", "://"):
        with pytest.raises(InputError):
            Store(wrong)
    with pytest.raises(DataUnavailableError, match="no folder"):
        Store(str(tmp_path / "no" / "q.sqlite")).create(new=True)


def test_a_password_is_not_shown(postgres):
    store = Store("postgresql://u:secret@127.0.0.1:1/x", seconds=0.5)
    assert "secret" not in store.name
    with pytest.raises(DatabaseAwayError) as caught:
        store.ping()
    assert "secret" not in str(caught.value)


def test_a_newer_version_is_refused(tmp_path):
    store = Store(str(tmp_path / "q.sqlite"))
    store.create(new=True)
    with sqlite3.connect(tmp_path / "q.sqlite") as other:
        other.execute("UPDATE denseam_quarantine_version SET version = 99")
    other.close()
    with pytest.raises(InputError, match="version 99"):
        store.create(new=True)


def test_a_file_that_is_no_database_is_refused_at_the_start_and_away_later(tmp_path):
    (tmp_path / "q.sqlite").write_bytes(b"no database" * 1000)
    store = Store(str(tmp_path / "q.sqlite"))
    with pytest.raises(FileFormatError, match="no SQLite database"):
        store.create(new=True)
    with pytest.raises(DatabaseAwayError, match="not a database"):
        store.create(new=False)
    with pytest.raises(FileFormatError, match="no SQLite database"):
        Store(str(tmp_path)).create(new=True)
    (tmp_path / "empty").touch()
    Store(str(tmp_path / "empty")).create(new=True)


def test_a_list_is_no_longer_than_a_database_can_count(tmp_path):
    store = Store(str(tmp_path / "q.sqlite"))
    store.create(new=True)
    for wrong in (0, -1, 10**20):
        with pytest.raises(InputError, match="limit"):
            store.list(limit=wrong)
    assert store.list(limit=2**31 - 1) == []
