"""What `/metrics` reports."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

if TYPE_CHECKING:
    from collections import Counter as Tally

    from wayfare.collector.limits import Budget


class Metrics:
    """The figures of one collector, in a registry of its own."""

    def __init__(self, budget: Budget) -> None:
        self._registry = CollectorRegistry()
        self._events = Counter(
            "wayfare_collector_events", "Events by producer and outcome.", ["producer", "status"],
            registry=self._registry,
        )  # fmt: skip
        self._requests = Counter(
            "wayfare_collector_requests", "Requests for /v1/events by status code.", ["code"], registry=self._registry
        )
        self._sizes = Histogram(
            "wayfare_collector_batch_events", "Events per batch.", buckets=(1, 10, 100, 500, 1_000, 2_000, 10_000),
            registry=self._registry,
        )  # fmt: skip
        self._seconds = Histogram(
            "wayfare_collector_batch_seconds", "Seconds until a batch was durable.", registry=self._registry
        )
        held = Gauge("wayfare_collector_held_bytes", "Bytes of requests in flight.", registry=self._registry)
        held.set_function(lambda: budget.held)

    def answered(self, code: int) -> None:
        """Count a request."""
        self._requests.labels(str(code)).inc()

    def judged(self, producer: str, statuses: Tally[str]) -> None:
        """Count a request's events."""
        for status, count in statuses.items():
            self._events.labels(producer, status).inc(count)

    def batched(self, events: int, seconds: float) -> None:
        """Count a batch."""
        self._sizes.observe(events)
        self._seconds.observe(seconds)

    def text(self) -> bytes:
        """The figures in Prometheus's text format."""
        return generate_latest(self._registry)
