"""Looks at what the registry stands on, for its readiness."""

import asyncio

import psycopg
from psycopg_pool import PoolTimeout

from shared.database import Database, one

PAUSE_S = 1.0
ANSWER_S = 3.0

# PostgreSQL shows a lock's 64-bit number as two halves.
RELAY_RUNS = """
select exists (
    select from pg_locks
    where locktype = 'advisory' and granted and objsubid = 1
        and ((classid::bigint << 32) | objid::bigint) = hashtextextended(%s, 0)
        and database = (select oid from pg_database where datname = current_database())
) as runs
"""


class Watch:
    """Asks the database once a second whether it answers, and whether a relay of the service holds its lock."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._problems: dict[str, str | None] = {"database": "not asked yet", "relay": "not seen yet"}

    def database(self) -> str | None:
        """What is wrong with the database, or None."""
        return self._problems["database"]

    def relay(self) -> str | None:
        """What is wrong with the relay, or None."""
        return self._problems["relay"]

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(PAUSE_S)

    async def look(self) -> None:
        """Look once."""
        try:
            async with asyncio.timeout(ANSWER_S), self._database.transaction() as connection:
                row = await one(connection, RELAY_RUNS, (f"relay:{self._database.schema}",))
        except (psycopg.Error, PoolTimeout, TimeoutError) as error:
            self._problems = {"database": f"does not answer: {type(error).__name__}", "relay": "cannot be seen"}
            return
        runs = row is not None and row["runs"]
        self._problems = {
            "database": None,
            "relay": None if runs else "no process publishes the outbox; is Kafka reachable?",
        }
