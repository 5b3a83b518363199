"""The platforms' client, a process of its own: reads a job as JSON from stdin, writes what came of it to stdout.

With a rate it sends each webhook at its moment, whether or not earlier ones were answered; without, it sends the next
one on each connection as soon as the last was answered.
"""

import asyncio
import itertools
import json
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime

from infra.bench.posts import Told, item_of
from infra.bench.samples import percentile
from infra.bench.wire import Door

PAUSE_S = 0.2
TRIES_MAX = 50


@dataclass(frozen=True)
class Job:
    """What to send: `posts`, or without any, ever new ones of this prefix with the picture at `url` for `seconds`.

    `batch` facts go into one webhook; `per_s` counts webhooks, 0 is as fast as they are taken.
    """

    door: str
    secret: str
    posts: list[tuple[str, str | None]] = field(default_factory=list)
    prefix: str = ""
    url: str = ""
    seconds: float = 0.0
    batch: int = 1
    per_s: float = 0.0
    connections: int = 1
    keep_times: bool = False

    def facts(self) -> Iterator[Told]:
        """Everything that is sent, in its order."""
        if self.posts:
            return (Told(post_id, url) for post_id, url in self.posts)
        return (Told(f"{self.prefix}-{number}", self.url) for number in itertools.count())


@dataclass
class Sent:
    """What came of it; `accepted_at` is the wall clock at each post's 202, `clock_step_s` what that clock jumped."""

    accepted: int = 0
    seconds: float = 0.0
    first_at: float = 0.0
    statuses: dict[str, int] = field(default_factory=dict)
    outcomes: dict[str, int] = field(default_factory=dict)
    accepted_at: dict[str, float] = field(default_factory=dict)
    late_p99_s: float = 0.0
    clock_step_s: float = 0.0


class Client:
    """Sends one job."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._door = Door(job.door, job.secret)
        self._facts = job.facts()
        self._numbers = itertools.count(1)
        self._statuses: Counter[str] = Counter()
        self._outcomes: Counter[str] = Counter()
        self._late: list[float] = []
        self._end = float("inf")
        self.sent = Sent()

    async def run(self) -> Sent:
        """Send everything; returns what came of it."""
        apart, began = time.time() - time.monotonic(), time.monotonic()
        if self._job.seconds and not self._job.posts:
            self._end = began + self._job.seconds
        if self._job.per_s:
            await self._paced(began)
        else:
            await asyncio.gather(*(self._flood() for _ in range(self._job.connections)))
        self._door.close()
        self.sent.seconds = time.monotonic() - began
        self.sent.clock_step_s = time.time() - time.monotonic() - apart
        self.sent.statuses, self.sent.outcomes = dict(self._statuses), dict(self._outcomes)
        self.sent.late_p99_s = percentile(self._late, 0.99) if self._late else 0.0
        return self.sent

    async def _paced(self, began: float) -> None:
        under_way = set()
        for number in itertools.count():
            facts = self._next()
            if not facts:
                break
            due = began + number / self._job.per_s
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            self._late.append(time.monotonic() - due)
            under_way.add(task := asyncio.create_task(self._send(facts)))
            task.add_done_callback(under_way.discard)
        await asyncio.gather(*under_way)

    async def _flood(self) -> None:
        while time.monotonic() < self._end and (facts := self._next()):
            await self._send(facts)

    def _next(self) -> list[Told]:
        return list(itertools.islice(self._facts, self._job.batch))

    async def _send(self, facts: list[Told]) -> None:
        """Until intake has taken it, as platforms do."""
        now = datetime.now(UTC).isoformat()
        items = [item_of(fact, number=next(self._numbers), now=now) for fact in facts]
        for _ in range(TRIES_MAX):
            try:
                answer = await self._door.send(items)
            except (OSError, TimeoutError) as error:
                self._statuses[type(error).__name__] += 1
            else:
                self._statuses[str(answer.status)] += 1
                if answer.status == 202:
                    self._learn(facts, [result["outcome"] for result in answer.told["results"]])
                    return
                if answer.status not in (429, 503):
                    return
            await asyncio.sleep(PAUSE_S)

    def _learn(self, facts: list[Told], outcomes: list[str]) -> None:
        now = time.time()
        self._outcomes.update(outcomes)
        # What comes after the end of a timed round does not count for it.
        if time.monotonic() <= self._end:
            self.sent.accepted += outcomes.count("accepted")
        self.sent.first_at = self.sent.first_at or now
        if self._job.keep_times:
            for fact in facts:
                self.sent.accepted_at.setdefault(fact.post_id, now)


def main() -> None:
    """Do one job."""
    job = Job(**json.load(sys.stdin))
    json.dump(asdict(asyncio.run(Client(job).run())), sys.stdout)


if __name__ == "__main__":
    main()
