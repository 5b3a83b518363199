"""A door before a server: it passes connections on, late or not at all, and slams. Plain asyncio in a thread."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Literal

HOST = "127.0.0.1"
CHUNK = 65_536

# open: passes on. slow: each piece waits. frozen: takes connections and bytes, and nothing comes of it.
# shut: refuses every connection. Whatever is set holds for connections that stand as well.
State = Literal["open", "slow", "frozen", "shut"]


@dataclass
class Door:
    """Stands at `port` before `HOST:target`; its methods may be called from any thread."""

    target: int
    delay_s: float = 0.3
    port: int = 0
    state: State = "open"
    passed: int = 0
    _loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.new_event_loop)
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    _server: asyncio.Server | None = None

    def open(self) -> None:
        """Pass on again; connections that were frozen are cut first, as a network that comes back finds them."""
        self._call(lambda: self._become("open", slam=self.state == "frozen"))

    def slow(self) -> None:
        """Every piece waits for `delay_s`."""
        self._call(lambda: self._become("slow"))

    def freeze(self) -> None:
        """Nothing passes, and nobody is told."""
        self._call(lambda: self._become("frozen"))

    def shut(self) -> None:
        """Cut every connection with a reset, and refuse new ones."""
        self._call(lambda: self._become("shut", slam=True))

    def slam(self) -> None:
        """Cut every connection with a reset; new ones pass."""
        self._call(self._slam)

    async def _become(self, state: State, *, slam: bool = False) -> None:
        self.state = state
        self._changed.set()
        self._changed = asyncio.Event()
        if slam:
            await self._slam()
        if state == "shut" and self._server is not None:
            self._server.close()
            self._server = None
        elif state != "shut" and self._server is None:
            await self._listen()

    async def _slam(self) -> None:
        for writer in tuple(self._writers):
            writer.transport.abort()

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._serve, HOST, self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        other: asyncio.StreamWriter | None = None
        try:
            await self._may_pass()
            inside, other = await asyncio.open_connection(HOST, self.target)
            self._writers.add(other)
            ways = (
                asyncio.ensure_future(self._carry(reader, other)),
                asyncio.ensure_future(self._carry(inside, writer)),
            )
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            for way in ways:
                way.cancel()
        except OSError:
            pass
        finally:
            for each in (writer, other):
                if each is not None:
                    self._writers.discard(each)
                    each.transport.abort()

    async def _carry(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while piece := await source.read(CHUNK):
                await self._may_pass()
                self.passed += len(piece)
                target.write(piece)
                await target.drain()
            # The other side may still have something to say, as after a request that ends by closing.
            if target.can_write_eof():
                target.write_eof()
                await asyncio.sleep(1.0)

    async def _may_pass(self) -> None:
        if self.state == "slow":
            await asyncio.sleep(self.delay_s)
        while self.state in ("frozen", "shut"):
            await self._changed.wait()

    def _call(self, what: Callable[[], Awaitable[None]]) -> None:
        async def run() -> None:
            await what()

        asyncio.run_coroutine_threadsafe(run(), self._loop).result(timeout=10)


@contextmanager
def door_to(target: int) -> Iterator[Door]:
    """A door that stands open, until the end."""
    door = Door(target)
    thread = threading.Thread(target=door._loop.run_forever, name=f"door-{target}", daemon=True)
    thread.start()
    door._call(door._listen)
    try:
        yield door
    finally:
        door.shut()
        door._loop.call_soon_threadsafe(door._loop.stop)
        thread.join(timeout=5)
        door._loop.close()
