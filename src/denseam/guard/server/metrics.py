"""Counters of a server, for Prometheus."""

from collections.abc import Callable
from typing import Any

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)

from denseam.guard import Verdicts

_SPACE = "denseam_guard"
_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)
_IMAGES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)


class Metrics:
    """The counters of one server."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)
        where: dict[str, Any] = {"namespace": _SPACE, "registry": self._registry}
        self._requests = Counter("requests", "Requests answered.", ["route", "status"], **where)
        self._refused = Counter("refused", "Requests refused.", ["why"], **where)
        self._verdicts = Counter("verdicts", "Images looked at.", ["accepted", "reason"], **where)
        self._kept = Counter("quarantine_kept", "Items put on the disk.", **where)
        self._lost = Counter("quarantine_lost", "Items that could not be put on the disk.", **where)
        self._stored = Counter("quarantine_stored", "Items moved to the database.", **where)
        self._seconds = Histogram(
            "request_seconds", "From head to answer.", ["route"], buckets=_SECONDS, **where
        )
        self._batch = Histogram("batch_images", "Images in one pass.", buckets=_IMAGES, **where)
        self._pass = Histogram("batch_seconds", "Of one pass.", buckets=_SECONDS, **where)

    def gauge(self, name: str, what: str, value: Callable[[], float]) -> None:
        """Add a number that is computed when it is read."""
        Gauge(name, what, namespace=_SPACE, registry=self._registry).set_function(value)

    def request(self, route: str, status: int, seconds: float) -> None:
        """Count an answered request."""
        self._requests.labels(route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def refused(self, why: str) -> None:
        """Count a refused request."""
        self._refused.labels(why).inc()

    def passed(self, images: int, seconds: float) -> None:
        """Count a pass through the models."""
        self._batch.observe(images)
        self._pass.observe(seconds)

    def judged(self, verdicts: Verdicts) -> None:
        """Count verdicts."""
        counts = verdicts.reason_counts()
        plain = len(verdicts) - sum(counts.values())
        if plain:
            self._verdicts.labels("true", "").inc(plain)
        for reason, count in counts.items():
            self._verdicts.labels("true" if reason == "disagree" else "false", reason).inc(count)

    def kept(self, count: int, *, done: bool) -> None:
        """Count items that went to the journal, or could not."""
        (self._kept if done else self._lost).inc(count)

    def stored(self, count: int) -> None:
        """Count items that reached the database."""
        self._stored.inc(count)

    def page(self) -> bytes:
        """Return all numbers in Prometheus' text format."""
        return generate_latest(self._registry)
