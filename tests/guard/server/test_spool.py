"""The journal: what was appended is there, whatever happened to the process or the disk."""

import os
import resource
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from denseam.errors import RunFolderError, SaveError
from denseam.guard.server.quarantine import Spool
from denseam.guard.server.quarantine import spool as spool_module

from .test_store import damage, item


def items_in(spool):
    return [each for path in spool.files() for each in spool.read(path).items]


@pytest.fixture
def spool(tmp_path):
    made = Spool(tmp_path / "spool", 1 << 20)
    yield made
    made.close()


def test_items_come_back_in_order(spool):
    items = [item(minute) for minute in range(5)]
    spool.append(items[:3])
    spool.append(items[3:])
    assert spool.n_items == 5
    assert items_in(spool) == items
    spool.append([last := item(9)])
    assert items_in(spool) == [*items, last]


def test_what_was_removed_is_gone_and_makes_room(spool, tmp_path):
    spool.append([item()])
    (path,) = spool.files()
    assert spool.n_bytes == path.stat().st_size
    spool.remove(path)
    assert (spool.n_bytes, spool.n_items, spool.files()) == (0, 0, [])


@pytest.mark.parametrize("cut", [1, 7, 8, 30])
def test_a_torn_end_is_dropped_and_the_rest_is_kept(spool, cut):
    items = [item(minute) for minute in range(3)]
    spool.append(items)
    (path,) = spool.files()
    whole = path.read_bytes()
    path.write_bytes(whole[:-cut])
    assert spool.read(path) == (items[:2], None)
    path.write_bytes(whole[:-cut] + bytes(cut))
    assert spool.read(path) == (items[:2], None)


@pytest.mark.parametrize("place", [3, 4, 8, 20])  # of the length, the sum, the map, a key
def test_what_is_whole_in_a_damaged_file_is_found(spool, place):
    items = [item(minute) for minute in range(6)]
    spool.append(items)
    (path,) = spool.files()
    damage(path, place)
    assert spool.read(path) == (items[1:], "a part of it is damaged")


def test_other_peoples_folders_are_left_as_they_are(tmp_path):
    """In the folder of the journals, whatever they are called."""
    names = ["photos", "0" * 32, "f" * 32, "x" * 32, "F" * 32]
    for name in names:
        (tmp_path / name / "2020").mkdir(parents=True)
        (tmp_path / name / "2020" / "a.jpg").write_text("mine")
        (tmp_path / name / "film.frames").write_text("mine")
    (tmp_path / ("0" * 32) / ".lock").touch()
    before = {path for path in tmp_path.rglob("*") if path.name != ".lock"}
    spool = Spool(tmp_path, 1 << 20)
    assert spool.files() == []
    spool.close()
    assert {path for path in tmp_path.rglob("*") if path.name != ".lock"} == before


def test_it_holds_no_more_than_its_most(tmp_path):
    spool = Spool(tmp_path / "spool", 1000)
    spool.append([item()])
    with pytest.raises(SaveError, match="the most that it may"):
        spool.append([item() for _ in range(5)])
    assert len(items_in(spool)) == 1
    spool.append([item()])
    spool.close()


def test_a_failed_write_harms_neither_what_was_before_nor_what_comes_after(spool, monkeypatch):
    spool.append([first := item(1)])
    with monkeypatch.context() as patched:
        real = os.write
        patched.setattr(os, "write", lambda file, data: real(file, data[: len(data) // 2]))
        with pytest.raises(SaveError, match="a part"):
            spool.append([item(2)])
    spool.append([last := item(3)])
    assert items_in(spool) == [first, last]


def test_a_full_disk_is_an_error_of_ours(spool):
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limit[1]))
    try:
        with pytest.raises(SaveError):
            spool.append([item()])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    spool.append([last := item()])
    assert items_in(spool) == [last]


def test_the_journal_of_a_dead_process_is_taken_over_and_of_a_living_one_is_not(tmp_path):
    living = Spool(tmp_path / "spool", 1 << 20)
    living.append([item()])
    script = """
import sys, os
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from guard.server.test_store import item
from denseam.guard.server.quarantine import Spool
Spool(Path(sys.argv[1]), 1 << 20).append([item(source="dead")] * 2)
os._exit(1)
"""
    tests = str(os.path.realpath(f"{__file__}/../../.."))
    subprocess.run([sys.executable, "-c", script, str(tmp_path / "spool"), tests], check=False)
    heir = Spool(tmp_path / "spool", 1 << 20)
    for _ in range(2):  # the second time too
        assert [each.source for each in items_in(heir)] == ["dead", "dead"]
    assert heir.n_items == 2
    (path,) = heir.files()
    heir.remove(path)
    assert not path.parent.exists()
    assert heir.files() == []
    heir.close()
    assert len(items_in(living)) == 1
    living.close()


def test_where_others_take_every_folder_it_says_so(tmp_path, monkeypatch):
    def taken(folder, doing):
        raise RunFolderError(f"{folder}: {doing}")

    monkeypatch.setattr(spool_module, "held_folder", taken)
    with pytest.raises(SaveError, match="another process holds"):
        Spool(tmp_path / "spool", 1 << 20)


def test_what_is_left_when_it_closes_is_found_by_the_next(tmp_path):
    first = Spool(tmp_path / "spool", 1 << 20)
    first.append([one := item()])
    first.close()
    second = Spool(tmp_path / "spool", 1 << 20)
    assert items_in(second) == [one]
    second.remove(*second.files())
    second.close()
    assert list((tmp_path / "spool").iterdir()) == []


def test_moving_while_others_append_loses_nothing(spool):
    """The mover takes files away from under the writer, a thousand times."""
    items, found, done = [item(minute) for minute in range(1000)], [], threading.Event()

    def write():
        try:
            for each in items:
                spool.append([each])
        finally:
            done.set()

    writer = threading.Thread(target=write)
    writer.start()
    while True:
        last = done.is_set()
        for path in spool.files():
            found += spool.read(path).items
            spool.remove(path)
        if last:
            break
    writer.join()
    assert sorted(found, key=lambda each: each.received_at) == items
    assert (spool.n_bytes, spool.n_items) == (0, 0)


def test_items_are_appended_while_a_file_is_being_deleted(spool, monkeypatch):
    spool.append([item()])
    (path,) = spool.files()
    deleting, appended, real = threading.Event(), threading.Event(), Path.unlink

    def slow(self, missing_ok=False):
        deleting.set()
        assert appended.wait(20)
        real(self, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", slow)
    mover = threading.Thread(target=spool.remove, args=[path])
    mover.start()
    assert deleting.wait(20)
    writer = threading.Thread(target=lambda: (spool.append([item(1)]), appended.set()))
    writer.start()
    writer.join(5)
    in_time = appended.is_set()
    appended.set()
    mover.join()
    writer.join()
    assert in_time
    assert spool.n_items == 1


def test_a_file_of_another_program_is_set_aside(spool, tmp_path):
    spool.append([item()])
    (path,) = spool.files()
    kept = spool.set_aside(path)
    assert kept.suffix == ".refused"
    assert kept.exists()
    assert (spool.files(), spool.n_items) == ([], 0)
