"""Sightings arrive, or what is known has changed: hold the uses, judge them, store; the outbox publishes."""

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from services.judging.publishing import Conclusion, HeldUse, Knowledge, conclude
from shared.events import UseSeen

IsFresh = Callable[[], bool]


class Room(Protocol):
    """One judging transaction: nothing that it reads of the lookup data changes before it ends."""

    async def learn(self, seen: Sequence[UseSeen]) -> Sequence[HeldUse]:
        """Lock these uses; returns those that are newer than what was known of them."""

    async def take_changed(self, most: int) -> Sequence[HeldUse]:
        """Take uses from the queue of those whose lookup data has changed."""

    async def take_awaiting(self, most: int) -> Sequence[HeldUse]:
        """Take uses whose verdict waits for fresh lookup data."""

    async def take(self, use_ids: Collection[str]) -> Sequence[HeldUse]:
        """Take exactly these uses."""

    async def all_readable(self) -> bool:
        """Could every lookup record be read?"""

    async def knowledge_of(self, seen: Sequence[UseSeen]) -> Mapping[str, Knowledge]:
        """By use id: the lookup data that bears on these uses."""

    async def keep(self, held: HeldUse, conclusion: Conclusion) -> None:
        """Store the conclusion and publish the states that changed."""


class Store(Protocol):
    """Judging's own schema."""

    def judging(self) -> AbstractAsyncContextManager[Room]:
        """A judging transaction."""


class CannotJudge(Exception):  # noqa: N818 - which uses it was is the point
    """Judging again failed; its cause says why."""

    def __init__(self, use_ids: Sequence[str]) -> None:
        super().__init__(f"{len(use_ids)} uses")
        self.use_ids = use_ids


async def on_sightings(sightings: Sequence[UseSeen], store: Store, is_fresh: IsFresh) -> list[Conclusion]:
    """Judge what is new of these uses; a repeat, or a state older than the known one, concludes nothing."""
    newest: dict[str, UseSeen] = {}
    for seen in sightings:
        known = newest.get(seen.use_id)
        if known is None or known.revision < seen.revision:
            newest[seen.use_id] = seen
    async with store.judging() as room:
        return await _judge(await room.learn(list(newest.values())), room, is_fresh)


async def judge_changed(store: Store, is_fresh: IsFresh, *, most: int) -> list[Conclusion]:
    """Judge uses again whose lookup data has changed; CannotJudge names them when that fails."""
    async with store.judging() as room:
        return await _judge_again(await room.take_changed(most), room, is_fresh)


async def judge_awaiting(store: Store, is_fresh: IsFresh, *, most: int) -> list[Conclusion]:
    """Judge uses again that waited for fresh lookup data, now that it is; CannotJudge as above."""
    async with store.judging() as room:
        if not (is_fresh() and await room.all_readable()):
            return []
        return await _judge_again(await room.take_awaiting(most), room, is_fresh)


async def judge_one(use_id: str, store: Store, is_fresh: IsFresh) -> list[Conclusion]:
    """Judge one use again."""
    async with store.judging() as room:
        return await _judge(await room.take([use_id]), room, is_fresh)


async def _judge_again(uses: Sequence[HeldUse], room: Room, is_fresh: IsFresh) -> list[Conclusion]:
    try:
        return await _judge(uses, room, is_fresh)
    except Exception as error:
        raise CannotJudge([held.seen.use_id for held in uses]) from error


async def _judge(uses: Sequence[HeldUse], room: Room, is_fresh: IsFresh) -> list[Conclusion]:
    if not uses:
        return []
    # Asked before the lookup data is read: what it vouches for is then among what is read.
    fresh = is_fresh() and await room.all_readable()
    knowledge = await room.knowledge_of([held.seen for held in uses])
    conclusions = [conclude(held, knowledge[held.seen.use_id], fresh=fresh) for held in uses]
    for held, conclusion in zip(uses, conclusions, strict=True):
        await room.keep(held, conclusion)
    return conclusions
