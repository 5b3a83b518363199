"""Store and publish are one: events wait in the service's own schema, and one relay takes them to Kafka."""

from shared.outbox.relay import Relay
from shared.outbox.store import ensure_state, put

__all__ = ["Relay", "ensure_state", "put"]
