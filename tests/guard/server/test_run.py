"""A server in the process of the tests: what it changes there while it runs."""

import gc
import signal
import time

from denseam.guard import Guard
from denseam.guard.server import Settings, serve
from guard import small


def test_garbage_collection_skips_what_was_there_before_the_first_request():
    frozen = []

    def started(_url):
        frozen.append(gc.get_freeze_count())
        signal.raise_signal(signal.SIGINT)

    serve(small.guard(), Settings(port=0, database=None), started=started)
    assert frozen[0] > 100_000  # the modules and torch
    assert gc.get_freeze_count() == 0


def test_it_listens_once_its_models_have_done_what_is_done_once(monkeypatch):
    prepared, when_it_listens = [], []

    def prepare(guard):
        time.sleep(1.5)  # longer than a server takes to start without it
        prepared.append(guard)

    def started(_url):
        when_it_listens.append(len(prepared))
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(Guard, "prepare", prepare)
    serve(small.guard(), Settings(port=0, database=None, workers=3), started=started)
    assert when_it_listens == [3]
