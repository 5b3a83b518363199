"""Every number that the console publishes."""

from prometheus_client import Counter, Histogram

PAGES = Counter("twintally_console_pages_total", "Pages by route and HTTP status", ["page", "status"])
SIGN_INS = Counter("twintally_console_sign_ins_total", "Attempts to sign in by outcome", ["outcome"])
UPSTREAM_SECONDS = Histogram(
    "twintally_console_upstream_seconds", "What a service behind the console took to answer", ["service", "outcome"]
)
