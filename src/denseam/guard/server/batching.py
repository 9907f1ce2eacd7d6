"""Micro-batches: requests that wait for the models at the same time share a pass.

Requests gather while a pass is under way, and go together in the next. A pass that follows one of
several requests waits for as many to come again, but no longer than ``max_wait``: a lone client
never waits, and clients in step are not served one by one. As soon as ENOUGH images wait, another
worker takes them: with more, a pass would not be faster for each of them.

The hand-over to a worker and back takes a sixth of a pass for one image. So a request of FEW images
that is alone runs in the event loop itself, if the models only compute and the last such pass took
no more than a MOMENT.
"""

import asyncio
import contextlib
import math
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from denseam.guard import Verdicts
from denseam.guard.server.refusals import RefusedError

ENOUGH = 64
"""Images."""

FEW = 4
"""Images."""

MOMENT = 0.005
"""Seconds, the longest pass of FEW images after which the next may run in the event loop."""


@dataclass(frozen=True, eq=False)
class _Waiting:
    """A request before its pass, and the future of its answer."""

    images: Tensor  # (B, H, W)
    answer: "asyncio.Future[Verdicts]"
    until: float


class Batcher:
    """A queue before a guard, with a bounded number of images.

    Args:
        predict: (B, H, W) to verdicts; ``workers`` threads call it at the same time.
        max_batch: images in one pass.
        max_wait: seconds; see above.
        queue: images under way at once.
        deadline: seconds that a request waits for its pass.
        workers: passes at once.
        threads: of a pass; also of the event loop's own, while the batcher runs.
        prompt: whether ``predict`` only computes, so that it takes as long as the last time.
        prepare: called by each worker before its first pass; its errors are ignored.
        observe: called after every pass with its images and its seconds.
    """

    def __init__(
        self,
        predict: Callable[[Tensor], Verdicts],
        *,
        max_batch: int,
        max_wait: float,
        queue: int,
        deadline: float,
        workers: int,
        threads: int,
        prompt: bool = False,
        prepare: Callable[[], None] = lambda: None,
        observe: Callable[[int, float], None] = lambda _images, _seconds: None,
    ) -> None:
        self._predict, self._observe = predict, observe
        self._max_batch, self._max_wait, self._threads = max_batch, max_wait, threads
        self._most = min(ENOUGH, max_batch)
        self._queue, self._deadline, self._prepare = queue, deadline, prepare
        self._prompt = prompt
        self._seconds = math.inf  # of the last pass of FEW images
        self._waiting: deque[_Waiting] = deque()
        self._ready = threading.Condition()
        self._prepared = threading.Semaphore(0)  # of as many workers as have prepared
        self._closed = False
        self._expected = 1  # requests in the last pass
        self._busy = 0  # workers that have a pass
        self.under_way = 0
        self._workers = [
            threading.Thread(target=self._work, name=f"guard-{i}", daemon=True)
            for i in range(workers)
        ]

    def start(self) -> None:
        """Start the workers; call it in the event loop."""
        self._loop, self._threads_before = asyncio.get_running_loop(), torch.get_num_threads()
        torch.set_num_threads(self._threads)
        for worker in self._workers:
            worker.start()

    async def prepared(self) -> None:
        """Return when every worker has prepared."""
        for _ in self._workers:
            await asyncio.to_thread(self._prepared.acquire)

    async def stop(self) -> None:
        """Finish what was accepted."""
        with self._ready:
            self._closed = True
            self._ready.notify_all()
        for worker in self._workers:
            await asyncio.to_thread(worker.join)
        torch.set_num_threads(self._threads_before)

    @property
    def full(self) -> bool:
        """Return whether even a single image would be refused."""
        return self.under_way >= self._queue

    async def ask(self, images: Tensor) -> Verdicts:
        """Return verdicts on images (B, H, W), uint8 or float32 in [0, 1].

        Raises:
            RefusedError: 429 when too many are under way, or the deadline has passed.
        """
        if self.under_way + len(images) > self._queue:
            raise RefusedError.busy(
                "queue_full", f"{self.under_way} images are under way: come back"
            )
        self.under_way += len(images)
        try:
            if await self._alone(len(images)):
                return self._look(images)
            answer = self._loop.create_future()
            with self._ready:
                self._waiting.append(_Waiting(images, answer, time.monotonic() + self._deadline))
                self._ready.notify()  # one is enough: it takes all that fit
            verdicts: Verdicts = await answer
            return verdicts
        finally:
            self.under_way -= len(images)

    async def _alone(self, count: int) -> bool:
        """Return whether no other request is under way, and the event loop may run the pass."""
        if not self._prompt or count > FEW or self._seconds > MOMENT:
            return False
        # Where the last pass served several, the workers wait for them to come again.
        if self._expected > 1 or self.under_way != count:
            return False
        for _ in range(2):  # requests of the same moment get as far as this meanwhile
            await asyncio.sleep(0)
        return self.under_way == count

    def _look(self, images: Tensor) -> Verdicts:
        started = time.monotonic()
        verdicts = self._predict(images)
        seconds = time.monotonic() - started
        if len(images) <= FEW:
            self._seconds = seconds
        self._observe(len(images), seconds)
        return verdicts

    def _work(self) -> None:
        # Of this thread: OpenMP counts threads for each that asks.
        torch.set_num_threads(self._threads)
        with contextlib.suppress(Exception):  # a custom classifier may not be there yet
            self._prepare()
        self._prepared.release()
        while batch := self._gather():
            for kind in (torch.uint8, torch.float32):
                if group := [w for w in batch if w.images.dtype == kind]:
                    self._answer(group)
            with self._ready:
                self._busy -= 1

    def _gather(self) -> list[_Waiting]:
        """Return the next requests, in the order they came; none when it is time to stop."""
        with self._ready:
            while True:
                self._ready.wait_for(self._turn)
                if self._expected > 1 and not self._busy:
                    self._ready.wait_for(self._enough, self._max_wait)
                batch = self._taken()
                if batch:
                    self._expected = len(batch)
                    self._busy += 1
                    if self._waiting:  # perhaps enough for another worker
                        self._ready.notify()
                    return batch
                if self._closed:
                    return batch

    def _turn(self) -> bool:
        """Return whether an idle worker has something to do."""
        if self._closed:
            return True
        return bool(self._waiting) and (not self._busy or self._images() >= self._most)

    def _enough(self) -> bool:
        many = len(self._waiting) >= self._expected or self._images() >= self._most
        return self._closed or many

    def _images(self) -> int:
        return sum(len(w.images) for w in self._waiting)

    def _taken(self) -> list[_Waiting]:
        """Take as many requests as fit into a pass; drop those whose clients have gone."""
        batch: list[_Waiting] = []
        room = self._max_batch
        while self._waiting and len(self._waiting[0].images) <= room:
            first = self._waiting.popleft()
            if not first.answer.cancelled():
                batch.append(first)
                room -= len(first.images)
        return batch

    def _answer(self, group: list[_Waiting]) -> None:
        """Ask the guard for all requests together, or one by one where that fails."""
        now = time.monotonic()
        late = [w for w in group if w.until < now]
        group = [w for w in group if w.until >= now]
        refused = RefusedError.busy(
            "deadline", f"waited {self._deadline:g} s for the models: come back"
        )
        for w in late:
            self._loop.call_soon_threadsafe(_fail, w.answer, refused)
        if not group:
            return
        try:
            verdicts = self._look(torch.cat([w.images for w in group]))
        except Exception as error:  # noqa: BLE001 (a custom classifier may raise anything)
            if len(group) == 1:
                self._loop.call_soon_threadsafe(_fail, group[0].answer, error)
                return
            for w in group:  # the images of one of them may be the reason
                if not w.answer.cancelled():
                    self._answer([w])
            return
        self._loop.call_soon_threadsafe(_deliver, group, verdicts)


def _deliver(group: list[_Waiting], verdicts: Verdicts) -> None:
    start = 0
    for w in group:
        end = start + len(w.images)
        if not w.answer.done():
            w.answer.set_result(verdicts if len(group) == 1 else verdicts[start:end])
        start = end


def _fail(answer: "asyncio.Future[Verdicts]", error: Exception) -> None:
    if not answer.done():
        answer.set_exception(error)
