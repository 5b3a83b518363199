"""A service's process: its web server and its loops start together, and stop together."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Awaitable, Callable, Mapping

import uvicorn
from fastapi import FastAPI

from shared.logs import get_log
from shared.tracing import stop_tracing

log = get_log()

Loop = Callable[[], Awaitable[None]]
GRACE_S = 15.0
LEFT_UNCONFIRMED = 70


class _Server(uvicorn.Server):
    """uvicorn without its own signal handlers: the process decides."""

    @contextlib.contextmanager
    def capture_signals(self):  # type: ignore[no-untyped-def]
        yield


async def run_process(app: FastAPI, loops: Mapping[str, Loop], *, host: str, port: int) -> None:
    """Serve the app and run the loops until SIGTERM or SIGINT, then stop them within the grace period.

    A loop that ends or fails takes the process with it (exit 70): half a service would hide its trouble.
    """
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    config = uvicorn.Config(app, host=host, port=port, log_config=None, access_log=False, timeout_graceful_shutdown=5)
    server = _Server(config)
    tasks = {asyncio.create_task(_until_cancelled(loop), name=name) for name, loop in loops.items()}
    tasks.add(asyncio.create_task(server.serve(), name="http"))
    stopping = asyncio.create_task(stop.wait(), name="stop")
    log.info("started", http=f"{host}:{port}", loops=sorted(loops))
    done, _ = await asyncio.wait({*tasks, stopping}, return_when=asyncio.FIRST_COMPLETED)
    failed = done - {stopping}
    for task in failed:
        log.critical("loop_ended", loop=task.get_name(), exc_info=task.exception())
    server.should_exit = True
    await _stop(tasks - failed)
    stopping.cancel()
    stop_tracing()
    log.info("stopped")
    if failed:
        os._exit(LEFT_UNCONFIRMED)


async def _until_cancelled(loop: Loop) -> None:
    with contextlib.suppress(asyncio.CancelledError):
        await loop()


async def _stop(tasks: set[asyncio.Task[None]]) -> None:
    for task in tasks:
        if task.get_name() != "http":
            task.cancel()
    _, late = await asyncio.wait(tasks, timeout=GRACE_S) if tasks else (set(), set())
    if late:
        log.error("stop_was_late", loops=sorted(task.get_name() for task in late))
        os._exit(LEFT_UNCONFIRMED)
