"""The database locked, full or away, and the server killed: inference goes on, nothing is lost."""

import concurrent.futures
import contextlib
import resource
import sqlite3
import time

import numpy as np
import pytest

from denseam.guard.server import Store

from .serving import eventually, serving

pytestmark = pytest.mark.slow


def junk(count, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, 28, 28))


def ids_of(answer):
    return [each for each in answer.outputs["quarantine_id"] if each]


def stored(database):
    store, found, last = Store(str(database)), set(), None
    while page := store.list(limit=1000, before=last):
        last = page[-1].id
        found |= {str(each.id) for each in page}
    store.close()
    return found


def infers_while_away(server, digits):
    """Ids that were acknowledged while the database was away."""
    ids = ids_of(server.infer(junk(3)))
    assert len(ids) == 3
    ready = eventually(lambda: (r := server.ready())["quarantine"] == "database_away" and r)
    assert ready["ready"]
    assert ready["waiting"] >= 3
    ids += ids_of(server.infer(junk(5, 1)))
    assert len(ids) == 8
    assert server.infer(digits[:1].numpy()).outputs["accepted"] == [True]
    assert server.metric("denseam_guard_quarantine_database_up") == 0
    assert server.metric("denseam_guard_quarantine_waiting_items") >= 8
    return ids


def settled(server):
    """How the quarantine is, once the journal is empty or the database away."""
    now = server.ready()
    return now["quarantine"] if now["quarantine"] != "ok" or not now["waiting"] else None


def caught_up(server):
    return eventually(lambda: server.ready() == {"ready": True, "quarantine": "ok", "waiting": 0})


@pytest.fixture
def database(request, tmp_path, postgres_url):
    return postgres_url if request.param == "postgresql" else tmp_path / "quarantine.sqlite"


@pytest.fixture
def postgres_url(request):
    if "postgresql" not in request.node.name:
        return None
    return request.getfixturevalue("postgres").url


@pytest.mark.parametrize("database", ["sqlite", "postgresql"], indirect=True)
def test_killed_under_load_it_loses_nothing_that_was_acknowledged(guard_file, tmp_path, database):
    acknowledged = []
    with serving(guard_file, tmp_path, database=str(database), spool="spool") as server:

        def send(seed):
            with contextlib.suppress(OSError, Exception):
                while True:
                    acknowledged.extend(ids_of(server.infer(junk(16, seed))))

        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            for seed in range(4):
                pool.submit(send, seed)
            eventually(lambda: len(acknowledged) > 300)
            server.kill()
    assert len(acknowledged) > 300
    with serving(guard_file, tmp_path, database=str(database), spool="spool") as server:
        caught_up(server)
    assert set(acknowledged) <= stored(database)


def test_locked(guard_file, tmp_path, digits):
    with serving(guard_file, tmp_path) as server:
        other = sqlite3.connect(tmp_path / "quarantine.sqlite", isolation_level=None)
        other.execute("BEGIN EXCLUSIVE")
        ids = infers_while_away(server, digits)
        other.execute("ROLLBACK")
        other.close()
        caught_up(server)
        assert stored(tmp_path / "quarantine.sqlite") == set(ids)


def test_full_and_room_again(guard_file, tmp_path, digits):
    """A limit on the size of files stands for a full disk: the database grows into it first.

    The journal does not, because nothing more is sent before it is empty.
    """
    with serving(guard_file, tmp_path) as server:
        pid, limit = server.process.pid, 300_000
        unlimited = resource.prlimit(pid, resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
        ids = []
        for seed in range(60):
            ids += ids_of(server.infer(junk(16, seed)))
            if eventually(lambda: settled(server)) != "ok":
                break
        ids += infers_while_away(server, digits)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, unlimited)
        caught_up(server)
        assert stored(tmp_path / "quarantine.sqlite") == set(ids)


def test_no_room_for_the_journal_either_and_the_answer_says_so(guard_file, tmp_path, digits):
    with serving(guard_file, tmp_path, spool_bytes=5000) as server:
        hidden = (tmp_path / "quarantine.sqlite").rename(tmp_path / "hidden")
        assert len(ids_of(server.infer(junk(3)))) == 3
        answer = server.infer(junk(16))
        assert answer.status == 200
        assert answer.json["parameters"] == {"quarantined": False}
        assert ids_of(answer) == []
        assert server.metric("denseam_guard_quarantine_lost_total") == 16
        assert server.infer(digits[:1].numpy()).outputs["accepted"] == [True]
        hidden.rename(tmp_path / "quarantine.sqlite")
        caught_up(server)
        assert len(ids_of(server.infer(junk(3)))) == 3


def test_a_file_that_vanished_and_came_back(guard_file, tmp_path, digits):
    with serving(guard_file, tmp_path) as server:
        hidden = (tmp_path / "quarantine.sqlite").rename(tmp_path / "hidden")
        ids = infers_while_away(server, digits)
        hidden.rename(tmp_path / "quarantine.sqlite")
        caught_up(server)
        assert stored(tmp_path / "quarantine.sqlite") == set(ids)


def test_postgresql_that_stopped_and_started(guard_file, tmp_path, digits, postgres):
    with serving(guard_file, tmp_path, database=postgres.url) as server:
        before = ids_of(server.infer(junk(2, 7)))
        postgres.stop()
        try:
            ids = infers_while_away(server, digits)
            assert server.ask("GET", "/quarantine").status == 503
        finally:
            postgres.start()
        caught_up(server)
        assert {*before, *ids} <= stored(postgres.url)


def test_it_starts_while_postgresql_is_away(guard_file, tmp_path, digits, postgres):
    postgres.stop()
    try:
        with serving(guard_file, tmp_path, database=postgres.url) as server:
            ids = infers_while_away(server, digits)
            postgres.start()
            caught_up(server)
            assert set(ids) <= stored(postgres.url)
    finally:
        with contextlib.suppress(Exception):
            postgres.start()


def test_two_servers_share_a_database_and_a_journal(guard_file, tmp_path):
    with serving(guard_file, tmp_path) as one, serving(guard_file, tmp_path) as other:
        ids = ids_of(one.infer(junk(4))) + ids_of(other.infer(junk(4, 1)))
        caught_up(one)
        caught_up(other)
        assert stored(tmp_path / "quarantine.sqlite") == set(ids)


def test_memory_does_not_grow(guard_file, tmp_path, digits):
    """Short: `benchmarks/serve.py --soak` does it for ten minutes."""
    with serving(guard_file, tmp_path) as server:

        def resident():
            lines = server.ask("GET", "/metrics").body.decode().splitlines()
            row = next(each for each in lines if each.startswith("process_resident_memory_bytes"))
            return float(row.split(" ")[1])

        def load(rounds):
            for seed in range(rounds):
                server.infer(junk(8, seed))
                server.infer(digits[:8].numpy())
                server.ask("POST", "/v2/models/guard/infer", b"x" * 500_000)
            time.sleep(0.3)

        load(60)
        before = resident()
        load(120)
        assert resident() - before < 20e6
