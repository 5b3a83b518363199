"""Every number that the exporter publishes."""

from prometheus_client import Gauge

LAG = Gauge(
    "twintally_consumer_lag", "Records of a partition that its group has not confirmed", ["group", "topic", "partition"]
)
OLDEST_S = Gauge(
    "twintally_consumer_oldest_unconfirmed_seconds", "Age of the oldest record a group has not confirmed", ["group"]
)
DEAD_LETTERS = Gauge(
    "twintally_dead_letter_records", "Records in a dead-letter topic: letters, and what became of them", ["topic"]
)
LOOKED_AT = Gauge("twintally_exporter_looked_timestamp_seconds", "When the broker last told all of this")
