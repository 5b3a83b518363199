"""Group commit: what several requests want done at the same moment is done in one go."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

Asked = TypeVar("Asked")
Told = TypeVar("Told")

GROUP_MAX = 128
# One alone would make everybody wait for a slow one; many would leave nothing to be put together.
ROUNDS_MAX = 2


class Together(Generic[Asked, Told]):
    """Calls `work` with everything that was asked while its last rounds were under way; nobody waits for company.

    `work` answers in the order in which it was asked. What it raises, all of its round get.
    """

    def __init__(self, work: Callable[[Sequence[Asked]], Awaitable[Sequence[Told]]]) -> None:
        self._work = work
        self._waiting: list[tuple[Asked, asyncio.Future[Told]]] = []
        self._rounds: set[asyncio.Task[None]] = set()

    async def ask(self, asked: Asked) -> Told:
        """The answer of the round that this was part of."""
        answer: asyncio.Future[Told] = asyncio.get_running_loop().create_future()
        self._waiting.append((asked, answer))
        if len(self._rounds) < ROUNDS_MAX:
            task = asyncio.create_task(self._work_all())
            self._rounds.add(task)
            task.add_done_callback(self._rounds.discard)
        return await answer

    async def _work_all(self) -> None:
        while self._waiting:
            group, self._waiting = self._waiting[:GROUP_MAX], self._waiting[GROUP_MAX:]
            await self._work_group(group)

    async def _work_group(self, group: Sequence[tuple[Asked, asyncio.Future[Told]]]) -> None:
        try:
            told = await self._work([asked for asked, _ in group])
        except BaseException as error:
            for _, answer in group:
                if not answer.done():
                    answer.set_exception(error)
            if not isinstance(error, Exception):
                raise
            return
        for (_, answer), each in zip(group, told, strict=True):
            # Whoever asked may have been cancelled meanwhile.
            if not answer.done():
                answer.set_result(each)
