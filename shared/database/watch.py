"""Looks at a database for readiness: a page that is asked must answer at once, also while the database does not."""

import asyncio
import time
from typing import Any

import psycopg
from psycopg.rows import DictRow
from psycopg_pool import PoolClosed, PoolTimeout

from shared.database import Database, one

PAUSE_S = 1.0
ANSWER_S = 3.0
# A database that neither answers nor refuses: giving up a question to it takes psycopg longer than its time.
SILENT_S_MAX = 6.0


class DatabaseWatch:
    """Asks the database once a second, and keeps what it answered; `planner` holds for this query alone."""

    def __init__(
        self, database: Database, query: str = "select true as answers", arguments: Any = (), *, planner: str = ""
    ) -> None:
        self._database = database
        self._planner = planner
        self._query = query
        self._arguments = arguments
        self._problem: str | None = "not asked yet"
        self._looked_at = time.monotonic()
        self.answer: DictRow | None = None

    def problem(self) -> str | None:
        """What is wrong with the database; None when it answers."""
        silent_s = time.monotonic() - self._looked_at
        return f"does not answer for {silent_s:.0f} s" if silent_s > SILENT_S_MAX else self._problem

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(PAUSE_S)

    async def look(self) -> None:
        """Look once."""
        try:
            async with asyncio.timeout(ANSWER_S), self._database.transaction() as connection:
                if self._planner:
                    await connection.execute(self._planner)
                self.answer = await one(connection, self._query, self._arguments)
        except (psycopg.Error, PoolTimeout, PoolClosed, TimeoutError) as error:
            self.answer, self._problem = None, f"does not answer: {type(error).__name__}"
        else:
            self._problem = None
        self._looked_at = time.monotonic()
