"""One function per request: take a webhook in, and keep the promise that accepted is kept."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from services.intake import generic
from services.intake.domain import ItemResult, Malformed, Outcome, Refused, Webhook
from services.intake.signatures import PlatformSecret, signer_of
from shared.events import PostFact


class Secrets(Protocol):
    """The platforms and their secrets."""

    async def of_platform(self, platform: str) -> Sequence[PlatformSecret] | None:
        """The secrets of a platform, or None when there is no such platform."""


class Inbox(Protocol):
    """Raw bodies and uploads, kept until what they proved needs no proof any more."""

    async def keep(self, webhook: Webhook, signed_by: PlatformSecret, uploads: Mapping[str, bytes]) -> None:
        """Store the body with the headers that signed it, and its images by SHA-256; durable when this returns."""


class Marks(Protocol):
    """Remembers which facts were taken in already; forgetting them costs work, never correctness."""

    async def known(self, marks: Sequence[str]) -> set[str]:
        """Which of these were remembered."""

    async def remember(self, marks: Sequence[str]) -> None:
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


Answer = Malformed | tuple[ItemResult, ...]


async def verify(webhook: Webhook, parts: Parts) -> PlatformSecret | UnknownPlatform | NotSigned:
    """The secret of its platform that signed this webhook."""
    candidates = await parts.secrets.of_platform(webhook.platform)
    if candidates is None:
        return UnknownPlatform()
    return signer_of(webhook.body, webhook.headers, candidates, webhook.received_at) or NotSigned()


async def take_in(webhook: Webhook, secret: PlatformSecret, parts: Parts, *, upload_bytes_max: int) -> Answer:
    """Keep a verified body and its uploads, send, wait for the acknowledgement, mark, answer: in this order only.

    A webhook of which every fact was taken in before is answered at once: what proves it was kept then.
    """
    parsed = generic.parse(webhook, livemode=secret.livemode, upload_bytes_max=upload_bytes_max)
    if isinstance(parsed, Malformed):
        return parsed
    items = [item if isinstance(item, Refused) else Marked.of(item) for item in parsed.items]
    facts = {item.mark: item.fact for item in items if isinstance(item, Marked)}
    known = await parts.marks.known(list(facts))
    fresh = {mark: fact for mark, fact in facts.items() if mark not in known}
    if not fresh:
        return _results(items, known=known, sent=set())
    await parts.inbox.keep(webhook, secret, parsed.uploads)
    sent = await _send(fresh, parts.stream)
    if sent:
        # The mark comes after the acknowledgement: a crash in between costs one repeat, never a loss.
        await parts.marks.remember(sorted(sent))
    return _results(items, known=known, sent=sent)


@dataclass(frozen=True)
class Marked:
    """A fact, and what it is remembered by."""

    fact: PostFact
    event_id: str
    mark: str

    @classmethod
    def of(cls, fact: PostFact) -> "Marked":
        """Of a fact that was read."""
        event_id = str(fact.event_id())
        # The same fact with `backfill` and without are one fact, but the second copy still tells whether it is live.
        return cls(fact, event_id, f"{event_id}:backfill" if fact.backfill else event_id)


async def _send(facts: Mapping[str, PostFact], stream: Stream) -> set[str]:
    acknowledged = await asyncio.gather(*(stream.send(fact) for fact in facts.values()))
    return {mark for mark, arrived in zip(facts, acknowledged, strict=True) if arrived}


def _results(items: Sequence[Marked | Refused], *, known: set[str], sent: set[str]) -> tuple[ItemResult, ...]:
    results = []
    seen = set(known)
    for item in items:
        if isinstance(item, Refused):
            results.append(ItemResult(Outcome.INVALID, problems=item.problems))
            continue
        first = Outcome.ACCEPTED if item.mark in sent else Outcome.NOT_SENT
        results.append(ItemResult(Outcome.DUPLICATE if item.mark in seen else first, event_id=item.event_id))
        if item.mark in sent:
            seen.add(item.mark)
    return tuple(results)
