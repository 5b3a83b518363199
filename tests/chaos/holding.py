"""Keeps a batch of a stage in hand: the table that it must write is locked meanwhile."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from tests.chaos.arena import Arena
from tests.chaos.logs import LogWatch

WRITTEN = {
    "matching": "matching.posts",
    "judging": "judging.uses",
    "alerts": "alerts.cases",
    "royalty": "royalty.offsets",
}
HOLD_S = 12.0


@contextmanager
def in_hand(arena: Arena, watch: LogWatch, stage: str) -> Iterator[str | None]:
    """The process of a stage that holds a batch inside the `with`; None when none took one within seconds."""
    with psycopg.connect(arena.stack.database, connect_timeout=5) as connection:
        connection.execute(f"set lock_timeout = '5s'; lock table {WRITTEN[stage]} in exclusive mode".encode())
        yield watch.holder(stage, since=time.monotonic(), within_s=HOLD_S)
        connection.rollback()
