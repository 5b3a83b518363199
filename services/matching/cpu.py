"""Processor time of work that waits in between, like a fetch: what its own task spends, not what it waits."""

import time
from collections.abc import Callable, Coroutine, Generator
from types import coroutine
from typing import Any, TypeVar

T = TypeVar("T")


@coroutine
def metered(work: Coroutine[Any, Any, T], spent: Callable[[float], None]) -> Generator[Any, Any, T]:
    """Await `work`, and tell the seconds of processor time that it took here, however it ended.

    Not counted is what the event loop does for it outside of its task: reading the socket, TLS.
    """
    seconds, step, value = 0.0, work.send, None
    try:
        while True:
            began = time.thread_time()
            try:
                waits_for = step(value)
            except StopIteration as done:
                return done.value  # type: ignore[no-any-return]
            finally:
                seconds += time.thread_time() - began
            try:
                step, value = work.send, (yield waits_for)
            except BaseException as error:
                step, value = work.throw, error
    finally:
        spent(seconds)
