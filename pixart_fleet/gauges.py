"""What Prometheus is told."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from pixart_fleet.guard import Admission

_SECONDS = (0.1, 0.25, 0.5, 1, 2, 4, 8, 15, 30, 60, 120, 300)
_BATCHES = (1, 2, 4, 8, 16, 32, 64)


class Gauges:
    """Counters of one process, in a registry of their own."""

    def __init__(self, admission: Admission) -> None:
        self._registry = CollectorRegistry()
        self.requests = Counter(
            "pixart_requests", "Requests for pictures.", ["status"], registry=self._registry
        )
        self.seconds = Histogram(
            "pixart_request_seconds",
            "From a request to its picture.",
            buckets=_SECONDS,
            registry=self._registry,
        )
        self.batch = Histogram(
            "pixart_batch_size",
            "How many pictures were drawn together.",
            buckets=_BATCHES,
            registry=self._registry,
        )
        waiting = Gauge("pixart_waiting", "Requests under way.", registry=self._registry)
        waiting.set_function(lambda: admission.count)

    def text(self) -> bytes:
        """Return all of it in Prometheus' format."""
        return generate_latest(self._registry)
