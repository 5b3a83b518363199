"""How much we ask of one image host at a time, and when we leave it alone."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

REQUESTS_MAX = 8
FAILURES_MAX = 5
REST_S = 10.0
HOSTS_MAX = 10_000


class Resting(Exception):  # noqa: N818 - a state of the host
    """The host failed several times in a row and is left alone for a while."""


@dataclass
class _Host:
    free: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(REQUESTS_MAX))
    failures: int = 0
    rests_until: float = 0.0

    def refuse_while_resting(self) -> None:
        left_s = self.rests_until - asyncio.get_running_loop().time()
        if left_s > 0:
            raise Resting(f"left alone for {left_s:.0f} s more after {self.failures} failures")


class Hosts:
    """A limit and a circuit breaker per host, in this process."""

    def __init__(self) -> None:
        self._hosts: dict[str, _Host] = {}

    @asynccontextmanager
    async def visit(self, url: str) -> AsyncIterator[None]:
        """Hold one of the host's places; Resting at once while it is left alone, ValueError when the URL names no host.

        What is raised inside counts as a failure of the host.
        """
        host = self._host(urlsplit(url).netloc)
        host.refuse_while_resting()
        async with host.free:
            # Whoever waited for a place may find that those before it made the host rest.
            host.refuse_while_resting()
            try:
                yield
            except BaseException:  # a deadline of the caller's cancels, and is the host's failure too
                host.failures += 1
                if host.failures >= FAILURES_MAX:
                    host.rests_until = asyncio.get_running_loop().time() + REST_S
                raise
            host.failures = 0

    def _host(self, name: str) -> _Host:
        if name not in self._hosts and len(self._hosts) >= HOSTS_MAX:
            self._hosts.pop(next(iter(self._hosts)))
        return self._hosts.setdefault(name, _Host())
