"""Requests that wait together are looked at together, each gets its own, and none is forgotten."""

import asyncio
import threading
import time

import pytest
import torch

from denseam.guard import Verdicts
from denseam.guard.server import batching
from denseam.guard.server.batching import FEW, Batcher
from denseam.guard.server.refusals import RefusedError

MOMENT = 0.5  # longer than a busy machine keeps a thread waiting


@pytest.fixture(autouse=True)
def a_longer_moment(monkeypatch):
    monkeypatch.setattr(batching, "MOMENT", MOMENT)


def verdicts(images):
    """The first pixel of each image as its label."""
    labels = images[:, 0, 0].long()
    ones = torch.ones(len(images), dtype=torch.float64)
    accepted = torch.ones(len(images), dtype=torch.bool)
    return Verdicts(labels, accepted, ones, ones, labels, labels, (None,) * len(images))


def images(*labels, dtype=torch.uint8):
    return torch.tensor(labels, dtype=dtype)[:, None, None].expand(-1, 2, 2)


class Models:
    """Notes what it is asked, and waits where it is told to."""

    def __init__(self):
        self.passes, self.threads = [], []
        self.go = threading.Event()
        self.go.set()

    def __call__(self, batch):
        self.passes.append(batch[:, 0, 0].tolist())
        self.threads.append(threading.current_thread().name)
        assert self.go.wait(20)
        return verdicts(batch)


def run(scenario, models=None, **settings):
    async def main():
        made = models or Models()
        usual = {"max_batch": 8, "max_wait": 0.01, "queue": 16, "deadline": 20.0, "workers": 1,
                 "threads": 1}  # fmt: skip
        batcher = Batcher(made, **{**usual, **settings})
        batcher.start()
        try:
            return await asyncio.wait_for(scenario(batcher, made), 20)
        finally:
            getattr(made, "models", made).go.set()
            await batcher.stop()

    return asyncio.run(main())


async def asked(batcher, *each):
    tasks = [asyncio.create_task(batcher.ask(one)) for one in each]
    await asyncio.sleep(0.05)
    return tasks


def test_each_gets_its_own_in_one_pass():
    async def scenario(batcher, models):
        models.go.clear()
        first = await asked(batcher, images(9))
        others = await asked(batcher, images(1, 2), images(3), images(4, 5))
        models.go.set()
        found = await asyncio.gather(*first, *others)
        assert [each.labels.tolist() for each in found] == [[9], [1, 2], [3], [4, 5]]
        assert models.passes == [[9], [1, 2, 3, 4, 5]]
        assert batcher.under_way == 0

    run(scenario)


def test_a_pass_has_no_more_than_its_most_and_nobody_is_divided():
    async def scenario(batcher, models):
        models.go.clear()
        first = await asked(batcher, images(9))
        others = await asked(batcher, images(1, 2, 3), images(4, 5), images(6, 7, 8), images(0))
        models.go.set()
        await asyncio.gather(*first, *others)
        assert models.passes == [[9], [1, 2, 3, 4, 5], [6, 7, 8, 0]]

    run(scenario, max_batch=5)


def test_kinds_are_not_mixed():
    async def scenario(batcher, models):
        models.go.clear()
        first = await asked(batcher, images(9))
        others = await asked(batcher, images(1.0, dtype=torch.float32), images(2))
        models.go.set()
        found = await asyncio.gather(*first, *others)
        assert [each.labels.tolist() for each in found] == [[9], [1], [2]]
        assert models.passes == [[9], [2], [1.0]]

    run(scenario)


def test_beyond_the_queue_it_is_refused_and_room_comes_back():
    async def scenario(batcher, models):
        models.go.clear()
        waiting = await asked(batcher, images(1), images(2, 3, 4))
        assert batcher.full
        with pytest.raises(RefusedError) as caught:
            await batcher.ask(images(5))
        assert (caught.value.status, caught.value.headers["retry-after"]) == (429, "1")
        models.go.set()
        await asyncio.gather(*waiting)
        assert (await batcher.ask(images(5))).labels.tolist() == [5]

    run(scenario, queue=4, max_batch=4)


def test_another_worker_takes_what_fills_a_pass_and_nothing_less():
    async def scenario(batcher, models):
        models.go.clear()
        first = await asked(batcher, images(9))
        few = await asked(batcher, images(1, 2))
        assert models.passes == [[9]]
        many = await asked(batcher, images(3, 4, 5, 6, 7, 8))
        assert models.passes == [[9], [1, 2, 3, 4, 5, 6, 7, 8]]
        models.go.set()
        found = await asyncio.gather(*first, *few, *many)
        assert [each.labels.tolist() for each in found] == [[9], [1, 2], [3, 4, 5, 6, 7, 8]]
        again = await asyncio.gather(*await asked(batcher, images(0), images(1)))
        assert [each.labels.tolist() for each in again] == [[0], [1]]

    run(scenario, workers=2)


class Alone:
    """What becomes of requests of one image and more, where the first one has been answered."""

    def __init__(self, wait=0.0):
        self.models, self.wait = Models(), wait

    def __call__(self, batch):
        time.sleep(self.wait)
        return self.models(batch)

    def inside(self):
        """Whether each pass after the first was in the event loop."""
        assert self.models.threads[0].startswith("guard-")
        return [name == threading.current_thread().name for name in self.models.threads[1:]]


def test_a_lone_request_is_looked_at_in_the_event_loop():
    models, seen = Alone(), []

    async def scenario(batcher, models):
        for part in (images(1), images(2), images(*range(FEW)), images(*range(FEW + 1)), images(3)):
            assert (await batcher.ask(part)).labels.tolist() == part[:, 0, 0].tolist()
            assert batcher.under_way == 0
        assert models.inside() == [True, True, False, True]
        assert torch.get_num_threads() == 3

    def observe(count, seconds):
        assert 0 <= seconds < 5
        seen.append(count)

    before = torch.get_num_threads()
    run(scenario, models, prompt=True, threads=3, observe=observe)
    assert torch.get_num_threads() == before
    assert seen == [1, 1, FEW, FEW + 1, 1]


def test_nothing_is_looked_at_there_that_may_be_held_up():
    async def scenario(batcher, models):
        for label in range(3):
            await batcher.ask(images(label))
        assert models.inside() == [False, False]

    run(scenario, Alone())
    run(scenario, Alone(wait=2 * MOMENT), prompt=True)


def test_one_slow_pass_ends_it_until_there_is_a_quick_one():
    async def scenario(batcher, models):
        for wait in (0, 2 * MOMENT, 0, 0):
            models.wait = wait
            await batcher.ask(images(1))
        assert models.inside() == [True, False, True]

    run(scenario, Alone(), prompt=True)


def test_requests_that_come_together_are_the_workers():
    async def scenario(batcher, models):
        await batcher.ask(images(1))

        async def as_the_server_does(one):  # a task of its own to ask, where others are under way
            return await asyncio.create_task(batcher.ask(one))

        found = await asyncio.gather(
            batcher.ask(images(2)), *map(as_the_server_does, map(images, (3, 4)))
        )
        assert [each.labels.tolist() for each in found] == [[2], [3], [4]]
        assert sorted(label for each in models.models.passes for label in each) == [1, 2, 3, 4]
        assert not any(models.inside())

    run(scenario, Alone(), prompt=True)


def test_after_a_shared_pass_the_next_one_is_a_worker_s():
    async def scenario(batcher, models):
        await batcher.ask(images(1))
        models.models.go.clear()
        first = asyncio.create_task(batcher.ask(images(*range(FEW + 1))))
        await asyncio.sleep(0.05)
        both = [asyncio.create_task(batcher.ask(images(label))) for label in (2, 3)]
        await asyncio.sleep(0.05)
        models.models.go.set()
        await asyncio.gather(first, *both)
        assert models.models.passes[-1] == [2, 3]
        await batcher.ask(images(4))  # others may be about to come again
        await batcher.ask(images(5))
        assert models.inside() == [False, False, False, True]

    run(scenario, Alone(), prompt=True)


def test_an_error_in_the_event_loop_is_that_of_the_request():
    class Broken(Alone):
        def __call__(self, batch):
            found = super().__call__(batch)
            if 13 in self.models.passes[-1]:
                raise RuntimeError("broken")
            return found

    async def scenario(batcher, models):
        await batcher.ask(images(1))
        with pytest.raises(RuntimeError, match="broken"):
            await batcher.ask(images(13))
        assert batcher.under_way == 0
        assert (await batcher.ask(images(1))).labels.tolist() == [1]
        assert models.inside() == [True, True]

    run(scenario, Broken(), prompt=True)


def test_every_worker_prepares_and_may_fail_to():
    prepared = []

    def prepare():
        prepared.append(threading.get_ident())
        raise RuntimeError("not there yet")

    async def scenario(batcher, _models):
        await batcher.prepared()
        assert (await batcher.ask(images(5))).labels.tolist() == [5]
        assert len(set(prepared)) == 3 == len(prepared)
        assert threading.get_ident() not in prepared

    run(scenario, workers=3, prepare=prepare)


def test_a_question_that_was_taken_back_is_not_asked():
    async def scenario(batcher, models):
        models.go.clear()
        (first,) = await asked(batcher, images(9))
        gone, last = await asked(batcher, images(1), images(2))
        gone.cancel()
        await asyncio.sleep(0.05)
        models.go.set()
        await asyncio.gather(first, last)
        assert models.passes == [[9], [2]]
        assert batcher.under_way == 0

    run(scenario)


def test_after_the_deadline_it_is_refused():
    async def scenario(batcher, models):
        models.go.clear()
        (first,) = await asked(batcher, images(9))
        (late,) = await asked(batcher, images(1))
        await asyncio.sleep(0.1)
        models.go.set()
        await first
        with pytest.raises(RefusedError) as caught:
            await late
        assert caught.value.status == 429
        assert models.passes == [[9]]

    run(scenario, deadline=0.1)


class Broken(Models):
    """Fails where one of the images is the thirteenth."""

    def __call__(self, batch):
        found = super().__call__(batch)
        if 13 in self.passes[-1]:
            raise RuntimeError("broken")
        return found


def test_an_error_reaches_those_who_asked_and_nobody_else():
    async def scenario(batcher, models):
        with pytest.raises(RuntimeError, match="broken"):
            await batcher.ask(images(13))
        assert (await batcher.ask(images(1))).labels.tolist() == [1]

    run(scenario, Broken())


def test_a_shared_pass_that_fails_is_tried_one_by_one():
    async def scenario(batcher, models):
        models.go.clear()
        (first,) = await asked(batcher, images(9))
        tasks = await asked(batcher, images(1, 2), images(13), images(3))
        models.go.set()
        await first
        one, bad, other = await asyncio.gather(*tasks, return_exceptions=True)
        assert (one.labels.tolist(), other.labels.tolist()) == ([1, 2], [3])
        assert str(bad) == "broken"
        assert models.passes == [[9], [1, 2, 13, 3], [1, 2], [13], [3]]
        assert batcher.under_way == 0

    run(scenario, Broken())


def test_stopping_finishes_what_was_accepted():
    async def scenario(batcher, models):
        models.go.clear()
        first = await asked(batcher, images(9))
        waiting = await asked(batcher, images(1, 2, 3), images(4, 5, 6))
        stopping = asyncio.create_task(batcher.stop())
        await asyncio.sleep(0.05)
        models.go.set()
        found = await asyncio.gather(*first, *waiting)
        await stopping
        assert [each.labels.tolist() for each in found] == [[9], [1, 2, 3], [4, 5, 6]]

    run(scenario, max_batch=4)
