"""Looks at an outbox: does the database answer, does a process publish what is stored, and how far behind is it?"""

import math

from shared.database import Database
from shared.database.watch import DatabaseWatch
from shared.health import Health

COUNTED_MAX = 10_000
# What waits longer is a fault; storing goes on meanwhile, so a service is not called unready for less.
UNSENT_S_MAX = 30.0

# PostgreSQL shows a lock's 64-bit number as two halves.
# Each part of the backlog is read by its index, from the oldest on and not past a limit: it costs no more when a
# million events wait. Live and bulk rows have an index each.
OUTBOX = f"""
select exists (
    select from pg_locks
    where locktype = 'advisory' and granted and objsubid = 1
        and ((classid::bigint << 32) | objid::bigint) = hashtextextended(%s, 0)
        and database = (select oid from pg_database where datname = current_database())
) as runs,
    coalesce(extract(epoch from clock_timestamp() - least(
        (select stored_at from outbox where sent_at is null and not bulk order by position limit 1),
        (select stored_at from outbox where sent_at is null and bulk order by position limit 1)
    ))::float8, 0) as oldest_unsent_s,
    coalesce(extract(epoch from clock_timestamp() - (
        select stored_at from outbox where sent_at is null and not bulk order by position limit 1
    ))::float8, 0) as oldest_live_s,
    (select count(*) from
        (select from outbox where sent_at is null and not bulk order by position limit {COUNTED_MAX}) as live)
    + (select count(*) from
        (select from outbox where sent_at is null and bulk order by position limit {COUNTED_MAX}) as bulk) as unsent
"""  # noqa: S608 - a constant
# As for the relay: what the planner remembers of the outbox is that nearly all of it was sent.
BY_INDEX = "set local enable_seqscan = off; set local enable_bitmapscan = off"


class OutboxWatch:
    """Sees whether any process of the service, this one or another, holds the relay's lock, and what is not sent."""

    def __init__(self, database: Database) -> None:
        self._watch = DatabaseWatch(database, OUTBOX, (f"relay:{database.schema}",), planner=BY_INDEX)
        self.database = self._watch.problem
        self.look = self._watch.look
        self.run = self._watch.run

    def add_checks(self, health: Health) -> None:
        """Readiness: the database answers, and what is stored is published."""
        health.ready_when("database", self.database)
        health.ready_when("relay", self.relay)

    @property
    def oldest_unsent_s(self) -> float:
        """Age of the oldest event that is not in Kafka, 0 when all are; NaN while the database does not answer."""
        return self._number("oldest_unsent_s")

    @property
    def unsent(self) -> float:
        """How many events are not in Kafka, up to COUNTED_MAX each of live and bulk ones; NaN like above."""
        return self._number("unsent")

    def _number(self, name: str) -> float:
        answer = self._watch.answer
        return math.nan if answer is None else max(0.0, float(answer[name]))

    def relay(self) -> str | None:
        """Why what is stored may not be published; None when it is, or nothing waits."""
        answer = self._watch.answer
        if answer is None:
            return "cannot be seen"
        # Bulk rows wait for as long as there are many of them.
        waits_s = self._number("oldest_live_s")
        if waits_s <= UNSENT_S_MAX:
            return None
        whose = "its relay runs" if answer["runs"] else "no process relays"
        return f"an event waits for {waits_s:.0f} s to be published; {whose}; is Kafka reachable?"
