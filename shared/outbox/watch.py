"""Looks at an outbox for readiness: does the database answer, and does a process publish what is stored?"""

from shared.database import Database
from shared.database.watch import DatabaseWatch

# PostgreSQL shows a lock's 64-bit number as two halves.
RELAY_RUNS = """
select exists (
    select from pg_locks
    where locktype = 'advisory' and granted and objsubid = 1
        and ((classid::bigint << 32) | objid::bigint) = hashtextextended(%s, 0)
        and database = (select oid from pg_database where datname = current_database())
) as runs
"""


class OutboxWatch:
    """Sees whether any process of the service, this one or another, holds the relay's lock."""

    def __init__(self, database: Database) -> None:
        self._watch = DatabaseWatch(database, RELAY_RUNS, (f"relay:{database.schema}",))
        self.database = self._watch.problem
        self.look = self._watch.look
        self.run = self._watch.run

    def relay(self) -> str | None:
        """What is wrong with the relay; None when one runs."""
        answer = self._watch.answer
        if answer is None:
            return "cannot be seen"
        return None if answer["runs"] else "no process publishes the outbox; is Kafka reachable?"
