"""Every number that alerts publishes."""

from prometheus_client import Counter, Gauge

from shared.metrics import OutboxGauges

INFRINGEMENTS_TAKEN = Counter(
    "twintally_alerts_infringements_total", "Infringement states by what the agency hears of them", ["outcome"]
)
DEAD_LETTERS = Counter("twintally_alerts_dead_letters_total", "Records given up on", ["consumer"])
DELIVERIES = Counter("twintally_alerts_deliveries_total", "Attempts to deliver an alert by outcome", ["outcome"])
UNDER_WAY = Gauge("twintally_alerts_attempts_under_way", "Attempts that wait for an endpoint")
OLDEST_PENDING = Gauge("twintally_alerts_oldest_pending_seconds", "Age of the oldest alert that is not delivered yet")
OUTBOX = OutboxGauges("alerts")
