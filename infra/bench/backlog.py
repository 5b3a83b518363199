"""What the house has yet to do, seen from outside: the broker's offsets, and the tables where work waits."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import psycopg
from aiokafka.errors import KafkaError

from infra.exporter.broker import Broker
from infra.kafka.layout import read_layout
from infra.local.services import SERVICES
from infra.local.stack import Stack
from shared.settings import KafkaSettings

LOOK_PAUSE_S = 0.5
LOOK_WITHIN_S = 20.0

T = TypeVar("T")

_UNSENT = " union all ".join(
    f"select 'outbox of {name}', count(*) from {name}.outbox where sent_at is null"  # noqa: S608 - names of a table
    for name, service in SERVICES.items()
    if service.has_schema and name != "intake"
)
WAITING = f"""
{_UNSENT}
union all select 'pending fetches', count(*) from matching.pending_fetches
union all select 'to judge', count(*) from judging.to_judge
union all select 'deliveries', count(*) from alerts.deliveries where status = 'pending'
"""  # noqa: S608 - constants


class NotDone(Exception):  # noqa: N818 - the state of the backlog
    """The house did not finish its work in time."""


@dataclass(frozen=True)
class Backlog:
    """How much waits, by where it waits; records of a group count until they are confirmed."""

    waiting: Mapping[str, int]
    dead_letters: int

    @property
    def total(self) -> int:
        """All of it; what is in two places at once counts twice."""
        return sum(self.waiting.values())

    def __str__(self) -> str:
        return ", ".join(f"{count} {name}" for name, count in self.waiting.items() if count) or "nothing waits"


class Lookout:
    """Looks at the backlog of one stack."""

    def __init__(self, stack: Stack) -> None:
        layout = read_layout()
        letters = [f"{topic}.dlq" for topic in layout.topics]
        self._broker = Broker(KafkaSettings(kafka=stack.kafka), layout.groups, letters)
        self._database = psycopg.connect(stack.database, autocommit=True)
        self._loop = asyncio.Runner()

    def close(self) -> None:
        """Close the connections."""
        self._run(self._broker.close())
        self._loop.close()
        self._database.close()

    def look(self) -> Backlog:
        """What waits now; a broker that does not tell is asked again for a while."""
        deadline = time.monotonic() + LOOK_WITHIN_S
        while True:
            try:
                return self._run(self._look())
            except (KafkaError, OSError, TimeoutError):
                self._run(self._broker.close())
                if time.monotonic() > deadline:
                    raise
                time.sleep(LOOK_PAUSE_S)

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        loop = self._loop.get_loop()
        task = loop.create_task(work)
        try:
            return loop.run_until_complete(task)
        except KeyboardInterrupt:
            # Interrupted half-way, it would go on when the loop next runs.
            task.cancel()
            loop.run_until_complete(asyncio.gather(task, return_exceptions=True))
            raise

    async def _look(self) -> Backlog:
        async with asyncio.timeout(LOOK_WITHIN_S):
            seen = await self._broker.look()
        waiting: Counter[str] = Counter()
        for each in seen.progress:
            waiting[f"before {each.group}"] += each.lag
        waiting.update({str(name): int(count) for name, count in self._database.execute(WAITING)})
        return Backlog(waiting, sum(seen.dead_letters.values()))

    def until_done(self, within_s: float, step: Callable[[int, int], None] = lambda _done, _total: None) -> float:
        """Wait until nothing waits, twice in a row: what moves on can be missed once. The time of the first such look.

        The time is that of `time.monotonic`; NotDone says what still waits.
        """
        deadline, empty_at, most = time.monotonic() + within_s, None, 1
        while True:
            looked_at, found = time.monotonic(), self.look()
            most = max(most, found.total)
            step(most - found.total, most)
            if found.total == 0:
                if empty_at is not None:
                    return empty_at
                empty_at = looked_at
            else:
                empty_at = None
            if looked_at > deadline:
                raise NotDone(f"after {within_s:.0f} s there wait: {found}")
            time.sleep(LOOK_PAUSE_S)

    def booked_at(self, prefix: str) -> dict[str, float]:
        """When the ledger row of each post with this prefix was committed, by PostgreSQL's own commit timestamps."""
        rows = self._database.execute(
            "select post_id, min(extract(epoch from pg_xact_commit_timestamp(xmin))::float8)"
            " from royalty.transactions where starts_with(post_id, %s) group by post_id",
            (prefix,),
        )
        return {str(post): float(at) for post, at in rows}
