"""Group commit: what several requests want done at the same moment is done in one go."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

Asked = TypeVar("Asked")
Told = TypeVar("Told")

WEIGHT_MAX = 512
# One at a time would leave the machine idle while it waits for its parts; many leave nothing to be put together.
ROUNDS_MAX = 2
# Nobody waits behind a round that hangs: it no longer counts.
LONG_S = 0.5


class Together(Generic[Asked, Told]):
    """Calls `work` with everything that was asked while its last rounds were under way; nobody waits for company.

    `work` answers in the order in which it was asked. What it raises, all of its round get. `weight` says what of a
    round's largest size a question takes.
    """

    def __init__(
        self, work: Callable[[Sequence[Asked]], Awaitable[Sequence[Told]]], *, weight: Callable[[Asked], int]
    ) -> None:
        self._work = work
        self._weight = weight
        self._waiting: list[tuple[Asked, asyncio.Future[Told]]] = []
        self._counted = 0
        self._rounds: set[asyncio.Task[None]] = set()

    async def ask(self, asked: Asked) -> Told:
        """The answer of the round that this was part of."""
        answer: asyncio.Future[Told] = asyncio.get_running_loop().create_future()
        self._waiting.append((asked, answer))
        self._begin()
        return await answer

    def _begin(self) -> None:
        if self._waiting and self._counted < ROUNDS_MAX:
            self._counted += 1
            task = asyncio.create_task(self._round())
            self._rounds.add(task)
            task.add_done_callback(self._rounds.discard)

    async def _round(self) -> None:
        counts = True

        def count_no_longer() -> None:
            nonlocal counts
            if counts:
                counts = False
                self._counted -= 1
                self._begin()

        timer = asyncio.get_running_loop().call_later(LONG_S, count_no_longer)
        try:
            # Another round may have taken all by now.
            if group := self._group():
                await self._answer(group)
        finally:
            timer.cancel()
            count_no_longer()

    def _group(self) -> list[tuple[Asked, asyncio.Future[Told]]]:
        weight, count = 0, 0
        for asked, _ in self._waiting:
            weight += self._weight(asked)
            if count and weight > WEIGHT_MAX:
                break
            count += 1
        group, self._waiting = self._waiting[:count], self._waiting[count:]
        return group

    async def _answer(self, group: Sequence[tuple[Asked, asyncio.Future[Told]]]) -> None:
        try:
            told = await self._work([asked for asked, _ in group])
        except Exception as error:
            for _, answer in group:
                if not answer.done():
                    answer.set_exception(error)
            return
        for (_, answer), each in zip(group, told, strict=True):
            # Whoever asked may have been cancelled meanwhile.
            if not answer.done():
                answer.set_result(each)
