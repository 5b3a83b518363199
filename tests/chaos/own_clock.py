"""A service whose wall clock is wrong: `python -m tests.chaos.own_clock SERVICE FILE`.

The file tells by how many seconds, and may be written again at any time: then the clock of the running process jumps.
Monotonic clocks go on as they are, as they do when an operator or NTP sets the time of a machine.
"""

import asyncio
import datetime as datetimes
import importlib
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaProducer

POLL_S = 0.1
RIGHT = 0.0
# Whoever reads a clock in a process of ours, beside what is compiled.
READERS = ("services.", "shared.", "standardwebhooks.", "__main__")


class Clock:
    """The wall clock of this process."""

    def __init__(self, told: Path) -> None:
        self._told = told
        self._right = time.time
        self.ahead_s = RIGHT

    def time(self) -> float:
        """Seconds since 1970, as this machine believes."""
        return self._right() + self.ahead_s

    def follow(self) -> None:
        """Look at the file for ever."""
        while True:
            self.ahead_s = ahead_s(self._told)
            time.sleep(POLL_S)


def ahead_s(told: Path) -> float:
    """What the file tells; a clock of which nothing is told is right."""
    try:
        return float(told.read_text() or RIGHT)
    except FileNotFoundError:
        return RIGHT


def set_clock(told: Path, seconds: float) -> None:
    """Have the clock of the process that follows this file jump."""
    draft = told.with_suffix(".draft")
    draft.write_text(str(seconds))
    draft.rename(told)


def wrong_datetime(clock: Clock) -> type:
    """`datetime` as modules know it, by this clock."""
    right = datetimes.datetime

    class AnyDatetime(type):
        def __instancecheck__(cls, found: object) -> bool:
            return isinstance(found, right)

    class Wrong(right, metaclass=AnyDatetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return right.fromtimestamp(clock.time(), tz)

    return Wrong


def put_wrong(clock: Clock) -> None:
    """Everybody in this process who reads a wall clock reads this one."""
    time.time = clock.time
    wrong = wrong_datetime(clock)
    for name, module in list(sys.modules.items()):
        if name.startswith(READERS) and getattr(module, "datetime", None) is datetimes.datetime:
            module.datetime = wrong  # type: ignore[attr-defined]
    # aiokafka writes the time of a record in compiled code.
    send: Callable[..., Any] = AIOKafkaProducer.send

    async def send_by_clock(*args: Any, **named: Any) -> Any:
        return await send(*args, **{"timestamp_ms": int(clock.time() * 1000), **named})

    AIOKafkaProducer.send = send_by_clock


def main() -> None:
    """Run the service by its clock."""
    service, told = sys.argv[1], Path(sys.argv[2])
    module = importlib.import_module(f"services.{service}.__main__")
    clock = Clock(told)
    put_wrong(clock)
    threading.Thread(target=clock.follow, name="clock", daemon=True).start()
    asyncio.run(module.main())


if __name__ == "__main__":
    main()
