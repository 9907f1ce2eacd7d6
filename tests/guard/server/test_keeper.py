"""What is acknowledged is on the disk: no answer overtakes the journal."""

import asyncio
import os
import threading

import pytest
from starlette.requests import Request

from denseam.guard.server import Settings
from denseam.guard.server.inference import set_aside
from denseam.guard.server.protocol import Question
from denseam.guard.server.quarantine import DatabaseAwayError, Keeper, Spool, Store
from denseam.guard.server.service import Service

from .serving import eventually
from .test_store import damage, item


@pytest.fixture
def disk(monkeypatch):
    """A disk that has not got it yet, until it is told to."""
    synced, real = threading.Event(), os.fsync

    def fsync(file):
        assert synced.wait(20)
        real(file)

    def slow():
        monkeypatch.setattr(os, "fsync", fsync)
        return synced

    return slow


def test_nothing_is_kept_before_the_disk_has_it_and_all_of_a_moment_go_together(tmp_path, disk):
    async def main():
        store = Store(str(tmp_path / "q.sqlite"))
        keeper = Keeper(store, Spool(tmp_path / "spool", 1 << 20), retention_days=0,
                        retention_count=0)  # fmt: skip
        keeper.reach()
        writes = []
        append = keeper.spool.append
        keeper.spool.append = lambda items: (writes.append(len(items)), append(items))
        synced = disk()
        tasks = [asyncio.create_task(keeper.keep([item(), item()])) for _ in range(3)]
        await asyncio.sleep(0.1)
        tasks += [asyncio.create_task(keeper.keep([item()])) for _ in range(4)]
        await asyncio.sleep(0.1)
        assert not any(task.done() for task in tasks)
        synced.set()
        assert await asyncio.gather(*tasks) == [True] * 7
        assert writes == [6, 4]
        keeper.start()
        await keeper.stop()
        return store

    assert asyncio.run(main()).count() == 10


def test_an_answer_waits_for_the_journal(tmp_path, guard, digits, disk):
    async def main():
        service = Service(guard, Settings(database=str(tmp_path / "q.sqlite")))
        await service.start()
        images = (digits[:2] + 128).reshape(2, 28, 28)
        verdicts = guard.predict(images)
        state = {"request_id": "r", "key": None}
        request = Request({"type": "http", "headers": [], "state": state})
        synced = disk()
        aside = set_aside(service, request, Question(), images, verdicts)
        task = asyncio.create_task(aside)
        await asyncio.sleep(0.2)
        assert not task.done()
        synced.set()
        ids, kept = await task
        assert kept
        assert [bool(each) for each in ids] == (~verdicts.accepted).tolist()
        assert any(ids)
        await service.stop()

    asyncio.run(main())


def test_an_error_that_nobody_thought_of_leaves_nobody_waiting(tmp_path):
    async def main():
        keeper = Keeper(Store(str(tmp_path / "q.sqlite")), Spool(tmp_path / "spool", 1 << 20),
                        retention_days=0, retention_count=0)  # fmt: skip
        append = keeper.spool.append
        keeper.spool.append = lambda _items: {}["nothing"]
        assert await asyncio.gather(keeper.keep([item()]), keeper.keep([item()])) == [False] * 2
        keeper.spool.append = append
        assert await keeper.keep([item()])
        keeper.spool.close()

    asyncio.run(asyncio.wait_for(main(), 20))


def test_what_the_last_server_left_is_known_at_once(tmp_path):
    last = Spool(tmp_path / "spool", 1 << 20)
    last.append([item(), item()])
    last.close()
    store = Store(str(tmp_path / "q.sqlite"))
    keeper = Keeper(store, Spool(tmp_path / "spool", 1 << 20), retention_days=0, retention_count=0)
    keeper.reach()
    assert keeper.spool.n_items == 2
    keeper.spool.close()


@pytest.mark.parametrize("place", [3, 20])
def test_of_a_damaged_file_what_is_whole_is_moved_and_the_rest_is_kept(tmp_path, place):
    spool, store = Spool(tmp_path / "spool", 1 << 20), Store(str(tmp_path / "q.sqlite"))
    items = [item(minute) for minute in range(6)]
    spool.append(items)
    (path,) = spool.files()
    damage(path, place)
    contents = path.read_bytes()

    async def main():
        keeper = Keeper(store, spool, retention_days=0, retention_count=0)
        keeper.reach()
        keeper.start()
        await keeper.stop()

    asyncio.run(main())
    assert store.list() == items[:0:-1]
    (kept,) = (tmp_path / "spool").iterdir()
    assert kept.suffix == ".refused"
    assert kept.read_bytes() == contents


def test_an_error_that_nobody_thought_of_does_not_end_the_moving(tmp_path, caplog):
    store, errors = Store(str(tmp_path / "q.sqlite")), [OverflowError("too far"), KeyError("x")]
    retain = store.retain

    def failing(**limits):
        if errors:
            raise errors.pop(0)
        return retain(**limits)

    store.retain = failing

    async def main():
        keeper = Keeper(store, Spool(tmp_path / "spool", 1 << 20), retention_days=1,
                        retention_count=1)  # fmt: skip
        keeper.reach()
        keeper.start()
        await asyncio.to_thread(eventually, lambda: "too far" in (keeper.away or ""))
        await keeper.keep([item()])
        await asyncio.to_thread(eventually, lambda: store.count() == 1)
        await asyncio.to_thread(eventually, lambda: keeper.away is None)
        await keeper.stop()

    asyncio.run(main())
    assert "items cannot be moved" in caplog.text


def test_a_database_that_comes_back_is_noticed(tmp_path):
    async def main():
        store = Store(str(tmp_path / "q.sqlite"))
        store.create(new=True)
        (tmp_path / "q.sqlite").rename(tmp_path / "hidden")
        keeper = Keeper(store, Spool(tmp_path / "spool", 1 << 20), retention_days=0,
                        retention_count=0)  # fmt: skip
        keeper.start()
        await keeper.keep([item()])
        await asyncio.to_thread(eventually, lambda: "unable to open" in (keeper.away or ""))
        with pytest.raises(DatabaseAwayError):
            store.count()
        (tmp_path / "hidden").rename(tmp_path / "q.sqlite")
        await asyncio.to_thread(
            eventually, lambda: keeper.away is None and keeper.spool.n_items == 0
        )
        assert store.count() == 1
        await keeper.stop()

    asyncio.run(main())
