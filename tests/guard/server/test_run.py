"""A server in the process of the tests: what it changes there while it runs."""

import gc
import signal

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
