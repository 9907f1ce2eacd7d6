"""What a server counts, for Prometheus."""

from collections.abc import Callable

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

__all__ = ["Metrics"]

_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)
_IMAGES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)


class Metrics:
    """The counters of one server, in a registry of its own."""

    def __init__(self) -> None:
        self._registry = of = CollectorRegistry()
        ProcessCollector(registry=of)
        PlatformCollector(registry=of)
        name = "denseam_guard_"
        self._requests = Counter(
            f"{name}requests", "Requests answered.", ["route", "status"], registry=of
        )
        self._seconds = Histogram(
            f"{name}request_seconds", "From head to answer.", ["route"], buckets=_SECONDS,
            registry=of,
        )  # fmt: skip
        self._refused = Counter(f"{name}refused", "Requests refused.", ["why"], registry=of)
        self._verdicts = Counter(
            f"{name}verdicts", "Images looked at.", ["accepted", "reason"], registry=of
        )
        self._batch = Histogram(
            f"{name}batch_images", "Images in one pass.", buckets=_IMAGES, registry=of
        )
        self._pass = Histogram(
            f"{name}batch_seconds", "Of one pass.", buckets=_SECONDS, registry=of
        )
        self._kept = Counter(f"{name}quarantine_kept", "Items put on the disk.", registry=of)
        self._lost = Counter(
            f"{name}quarantine_lost", "Items that could not be put on the disk.", registry=of
        )
        self._stored = Counter(
            f"{name}quarantine_stored", "Items moved to the database.", registry=of
        )

    def gauge(self, name: str, what: str, value: Callable[[], float]) -> None:
        """A number that is asked for when it is read."""
        Gauge(f"denseam_guard_{name}", what, registry=self._registry).set_function(value)

    def request(self, route: str, status: int, seconds: float) -> None:
        """A request was answered."""
        self._requests.labels(route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def refused(self, why: str) -> None:
        """A request was refused."""
        self._refused.labels(why).inc()

    def passed(self, images: int, seconds: float) -> None:
        """The models looked at a batch."""
        self._batch.observe(images)
        self._pass.observe(seconds)

    def judged(self, verdicts: Verdicts) -> None:
        """Images got their verdicts."""
        counts = verdicts.reason_counts()
        plain = len(verdicts) - sum(counts.values())
        if plain:
            self._verdicts.labels("true", "").inc(plain)
        for reason, count in counts.items():
            self._verdicts.labels("true" if reason == "disagree" else "false", reason).inc(count)

    def kept(self, count: int, *, done: bool) -> None:
        """Items went to the journal, or could not."""
        (self._kept if done else self._lost).inc(count)

    def stored(self, count: int) -> None:
        """Items reached the database."""
        self._stored.inc(count)

    def page(self) -> bytes:
        """All of it, in Prometheus' text format."""
        return generate_latest(self._registry)
