"""The numbers that several services have alike. docs/metrics.md lists every one."""

from typing import Protocol

from prometheus_client import Gauge


class OutboxBacklog(Protocol):
    """What is seen of an outbox; not a number (NaN) while the database does not answer."""

    @property
    def oldest_unsent_s(self) -> float: ...  # noqa: D102
    @property
    def unsent(self) -> float: ...  # noqa: D102


class OutboxGauges:
    """How far the outbox of one service is behind."""

    def __init__(self, service: str) -> None:
        self._oldest_s = Gauge(
            f"twintally_{service}_outbox_oldest_unsent_seconds", "Age of the oldest event not yet in Kafka"
        )
        self._unsent = Gauge(f"twintally_{service}_outbox_unsent", "Events not yet in Kafka, counted up to a limit")

    def follow(self, backlog: OutboxBacklog) -> None:
        """Show what this one sees from now on."""
        self._oldest_s.set_function(lambda: backlog.oldest_unsent_s)
        self._unsent.set_function(lambda: backlog.unsent)
