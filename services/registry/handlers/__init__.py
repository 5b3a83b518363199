"""One function per request: load, decide, store; the outbox publishes what was stored."""
