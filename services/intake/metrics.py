"""Every number that intake publishes."""

from prometheus_client import Counter, Gauge, Histogram

ITEMS = Counter("twintally_intake_items_total", "Items of webhooks by outcome", ["platform", "outcome"])
WEBHOOKS = Counter("twintally_intake_webhooks_total", "Webhooks by HTTP status", ["status"])
DOUBTFUL = Counter("twintally_intake_time_doubtful_total", "Facts whose time cannot be trusted")
MARKS_MISSED = Counter("twintally_intake_marks_missed_total", "Duplicate marks not read or written: Redis was away")
DEAD_LETTERS = Counter("twintally_intake_dead_letters_total", "Records given up on", ["consumer"])
UNACKNOWLEDGED = Gauge("twintally_intake_unacknowledged", "Sends that wait for the broker")
WEBHOOK_SECONDS = Histogram("twintally_intake_webhook_seconds", "From the request to its answer")
