"""Load, fetch and search outside any transaction, then store in one short one; the outbox publishes."""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from services.matching.domain import Digests, PostKey, Seen, fold, uses_of
from services.matching.media import ItemAt, Later, MediaOutcome, Searched, Unusable
from shared.events import MediaItem, PostEdited, PostFact, PostPublished, UseSeen


class Transaction(Protocol):
    """What is done to posts whose rows this transaction has locked."""

    async def add_facts(self, facts: Sequence[PostFact]) -> None:
        """Store the facts that are new."""

    async def add_outcome(self, at: ItemAt, key: PostKey, url: str | None, outcome: MediaOutcome) -> None:
        """Store what became of a media item, unless it is known; `Later` becomes a pending fetch of its address.

        Several come in the order of their images' digests: posts share images, and two transactions their rows.
        """

    async def add_late(self, seen: Sequence[Seen], keys: Sequence[PostKey]) -> None:
        """Store what references that came later are recognised in, in images of these posts; their evidence is due."""

    async def facts_of(self, key: PostKey) -> Sequence[PostFact]:
        """Every fact of a post."""

    async def digests_of(self, key: PostKey) -> Digests:
        """The digests of a post's media items, as far as they are known."""

    async def seen_in(self, digests: Sequence[str], *, livemode: bool) -> Mapping[str, Sequence[Seen]]:
        """What was found in images, by their digest."""

    async def publish(self, use: UseSeen) -> bool:
        """Publish a use when its content changed."""


class Store(Protocol):
    """Matching's own schema."""

    async def known_items(self, items: Sequence[ItemAt]) -> set[ItemAt]:
        """Which of these have an outcome or a pending fetch already."""

    def posts(self, keys: Sequence[PostKey]) -> AbstractAsyncContextManager[Transaction]:
        """One transaction with these posts' rows locked, in key order."""


class Looker(Protocol):
    """Gets an image, keeps it as evidence when it shows a twin, and says what was seen."""

    async def look(self, url: str, *, livemode: bool, deadline_s: float) -> MediaOutcome:
        """The outcome; never raises for what a host or a file does."""

    async def look_at_upload(self, platform: str, sha256: str, *, livemode: bool) -> Searched | Unusable:
        """The same of an image that the platform uploaded; there is no host to wait for."""


@dataclass(frozen=True)
class Effect:
    """What one batch changed."""

    facts: int
    published: int
    outcomes: tuple[MediaOutcome, ...]


@dataclass(frozen=True)
class _Item:
    at: ItemAt
    key: PostKey
    media: MediaItem


async def on_facts(facts: Sequence[PostFact], store: Store, looker: Looker, *, deadline_s: float) -> Effect:
    """Learn facts of posts: their new media are looked at, and the uses that this changes are published."""
    items = [item for fact in facts for item in _items_of(fact)]
    known = await store.known_items([item.at for item in items])
    fresh = list({item.at: item for item in items if item.at not in known}.values())
    outcomes = await asyncio.gather(*(_look(item, looker, deadline_s) for item in fresh))
    keys = sorted({PostKey.of(fact) for fact in facts})
    async with store.posts(keys) as transaction:
        await transaction.add_facts(facts)
        for item, outcome in sorted(zip(fresh, outcomes, strict=True), key=lambda found: _digest(found[1])):
            await transaction.add_outcome(item.at, item.key, item.media.url, outcome)
        published = sum([await _publish_uses(key, transaction) for key in keys])
    return Effect(facts=len(facts), published=published, outcomes=tuple(outcomes))


async def on_fetched(at: ItemAt, key: PostKey, url: str, outcome: MediaOutcome, store: Store) -> int:
    """A pending fetch came to an end, or waits again; returns how many uses this changed."""
    async with store.posts([key]) as transaction:
        await transaction.add_outcome(at, key, url, outcome)
        return 0 if isinstance(outcome, Later) else await _publish_uses(key, transaction)


async def on_late_match(seen: Sequence[Seen], keys: Sequence[PostKey], store: Store) -> int:
    """References that came after these posts are recognised in an image of theirs; returns how many uses this changed.

    Again changes nothing; a post that another worker learns meanwhile publishes it itself (see additions.py).
    """
    async with store.posts(keys) as transaction:
        await transaction.add_late(seen, keys)
        return sum([await _publish_uses(key, transaction) for key in sorted(keys)])


async def _look(item: _Item, looker: Looker, deadline_s: float) -> MediaOutcome:
    key, media = item.key, item.media
    if media.url is not None:
        return await looker.look(media.url, livemode=key.livemode, deadline_s=deadline_s)
    return await looker.look_at_upload(key.platform, media.upload_sha256 or "", livemode=key.livemode)


async def _publish_uses(key: PostKey, transaction: Transaction) -> int:
    facts = await transaction.facts_of(key)
    if not facts:
        # None can be read any more: told and counted there, and no reason to hold up other posts.
        return 0
    post = fold(facts)
    digests = await transaction.digests_of(key)
    known = sorted({digest for several in digests.values() for digest in several if digest is not None})
    seen = await transaction.seen_in(known, livemode=key.livemode)
    uses = uses_of(post, digests, seen)
    return sum([await transaction.publish(use) for use in uses])


def _digest(outcome: MediaOutcome) -> str:
    return outcome.digest if isinstance(outcome, Searched) else ""


def _items_of(fact: PostFact) -> list[_Item]:
    if not isinstance(fact, PostPublished | PostEdited):
        return []
    key = PostKey.of(fact)
    event_id = str(fact.event_id())
    return [_Item(ItemAt(event_id, number), key, item) for number, item in enumerate(fact.post.media)]
