"""One function per request: take a webhook in, and keep the promise that accepted is kept."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from services.intake import generic
from services.intake.domain import Item, ItemResult, Malformed, Outcome, Refused, Webhook
from services.intake.signatures import PlatformSecret, signer_of
from shared.events import PostFact


class Secrets(Protocol):
    """The platforms and their secrets."""

    async def of_platform(self, platform: str) -> Sequence[PlatformSecret] | None:
        """The secrets of a platform, or None when there is no such platform."""


class Inbox(Protocol):
    """Raw bodies, kept until what they proved needs no proof any more."""

    async def keep(self, webhook: Webhook, signed_by: PlatformSecret) -> None:
        """Store the body with the headers that signed it; durable when this returns."""


class Marks(Protocol):
    """Remembers which facts were taken in already; forgetting them costs work, never correctness."""

    async def known(self, event_ids: Sequence[str]) -> set[str]:
        """Which of these were remembered."""

    async def remember(self, event_ids: Sequence[str]) -> None:
        """Remember them for as long as platforms repeat."""


class Stream(Protocol):
    """posts.v1."""

    async def send(self, fact: PostFact) -> bool:
        """Send and wait for the broker's acknowledgement; False when it did not come in time."""


@dataclass(frozen=True)
class Parts:
    """What taking in a webhook needs."""

    secrets: Secrets
    inbox: Inbox
    marks: Marks
    stream: Stream


@dataclass(frozen=True)
class UnknownPlatform:
    """Nobody has registered this platform."""


@dataclass(frozen=True)
class NotSigned:
    """No valid secret of the platform signed these bytes within the time window."""


Answer = UnknownPlatform | NotSigned | Malformed | tuple[ItemResult, ...]


async def take_in(webhook: Webhook, parts: Parts) -> Answer:
    """Verify, keep the body, send, wait for the acknowledgement, mark, answer: in this order and no other."""
    candidates = await parts.secrets.of_platform(webhook.platform)
    if candidates is None:
        return UnknownPlatform()
    secret = signer_of(webhook.body, webhook.headers, candidates, webhook.received_at)
    if secret is None:
        return NotSigned()
    items = generic.parse(
        webhook.body, platform=webhook.platform, livemode=secret.livemode, received_at=webhook.received_at
    )
    if isinstance(items, Malformed):
        return items
    if any(isinstance(item, PostFact) for item in items):
        await parts.inbox.keep(webhook, secret)
    return await _send(items, parts)


async def _send(items: Sequence[Item], parts: Parts) -> tuple[ItemResult, ...]:
    facts = {str(item.event_id()): item for item in items if isinstance(item, PostFact)}
    known = await parts.marks.known(list(facts))
    fresh = {event_id: fact for event_id, fact in facts.items() if event_id not in known}
    acknowledged = await asyncio.gather(*(parts.stream.send(fact) for fact in fresh.values()))
    sent = {event_id for event_id, arrived in zip(fresh, acknowledged, strict=True) if arrived}
    if sent:
        # The mark comes after the acknowledgement: a crash in between costs one repeat, never a loss.
        await parts.marks.remember(sorted(sent))
    return _results(items, known=known, sent=sent)


def _results(items: Sequence[Item], *, known: set[str], sent: set[str]) -> tuple[ItemResult, ...]:
    results = []
    seen = set(known)
    for item in items:
        if isinstance(item, Refused):
            results.append(ItemResult(Outcome.INVALID, problems=item.problems))
            continue
        event_id = str(item.event_id())
        first = Outcome.ACCEPTED if event_id in sent else Outcome.NOT_SENT
        results.append(ItemResult(Outcome.DUPLICATE if event_id in seen else first, event_id=event_id))
        if event_id in sent:
            seen.add(event_id)
    return tuple(results)
