"""Whether this process and its database agree on what time it is: `now when left out` is this process's time."""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta

from shared.database import Database
from shared.database.watch import PAUSE_S, DatabaseWatch

DIFFERENCE_MAX = timedelta(seconds=60)


class ClockWatch:
    """Holds this process's clock against the database's, once a second."""

    def __init__(self, database: Database, now: Callable[[], datetime]) -> None:
        self._watch = DatabaseWatch(database, "select clock_timestamp() as now")
        self._now = now
        self._ahead = timedelta()

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(PAUSE_S)

    async def look(self) -> None:
        """Look once; a database that does not answer leaves what is known."""
        await self._watch.look()
        if self._watch.answer is not None:
            self._ahead = self._now() - self._watch.answer["now"]

    def problem(self) -> str | None:
        """Why dates that this process sets would be wrong, for readiness; None when the clocks agree."""
        seconds = self._ahead.total_seconds()
        if abs(self._ahead) <= DIFFERENCE_MAX:
            return None
        which = "ahead of" if seconds > 0 else "behind"
        return f"{abs(seconds):.0f} s {which} the database's; set the one that is wrong"
