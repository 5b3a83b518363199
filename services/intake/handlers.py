"""One function per request: take a webhook in, and keep the promise that accepted is kept."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from services.intake import generic
from services.intake.domain import Delivery, ItemResult, Malformed, Marked, Outcome, Refused, Webhook
from services.intake.signatures import PlatformSecret, signer_of


class Secrets(Protocol):
    """The platforms and their secrets."""

    async def of_platform(self, platform: str) -> Sequence[PlatformSecret] | None:
        """The secrets of a platform, or None when there is no such platform."""


class Inbox(Protocol):
    """Raw bodies and uploads, kept until what they proved needs no proof any more."""

    async def keep(self, several: Sequence[Delivery]) -> None:
        """Store bodies with the headers that signed them, and their images by SHA-256; durable when this returns."""


class Marks(Protocol):
    """Remembers which facts were taken in already; forgetting them costs work, never correctness."""

    async def known(self, marks: Sequence[str]) -> set[str]:
        """Which of these were remembered."""

    async def remember(self, marks: Sequence[str]) -> None:
        """Remember them for as long as platforms repeat."""


class Stream(Protocol):
    """posts.v1."""

    async def send(self, several: Sequence[Marked]) -> Sequence[bool]:
        """Send facts and wait for the broker's acknowledgements; False for each that did not come in time."""


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


async def verify(webhook: Webhook, parts: Parts) -> PlatformSecret | UnknownPlatform | NotSigned:
    """The secret of its platform that signed this webhook."""
    candidates = await parts.secrets.of_platform(webhook.platform)
    if candidates is None:
        return UnknownPlatform()
    return signer_of(webhook.body, webhook.headers, candidates, webhook.received_at) or NotSigned()


def read(webhook: Webhook, secret: PlatformSecret, *, upload_bytes_max: int) -> Delivery | Malformed:
    """What a verified webhook says."""
    parsed = generic.parse(webhook, livemode=secret.livemode, upload_bytes_max=upload_bytes_max)
    if isinstance(parsed, Malformed):
        return parsed
    items = [item if isinstance(item, Refused) else Marked.of(item) for item in parsed.items]
    return Delivery(webhook, secret.secret_id, items, parsed.uploads)


async def take_in(several: Sequence[Delivery], parts: Parts) -> list[tuple[ItemResult, ...]]:
    """Keep bodies and uploads, send, wait for the acknowledgements, mark, answer: in this order only.

    A webhook of which every fact was taken in before is not kept again: what proves it was kept then.
    """
    facts = {fact.mark: fact for each in several for fact in each.facts()}
    known = await parts.marks.known(list(facts))
    fresh = {mark: fact for mark, fact in facts.items() if mark not in known}
    sent: set[str] = set()
    if fresh:
        await parts.inbox.keep([each for each in several if any(fact.mark in fresh for fact in each.facts())])
        arrived = await parts.stream.send(list(fresh.values()))
        sent = {mark for mark, came in zip(fresh, arrived, strict=True) if came}
    if sent:
        # The mark comes after the acknowledgement: a crash in between costs one repeat, never a loss.
        await parts.marks.remember(sorted(sent))
    seen = set(known)
    return [tuple(_results(each.items, seen=seen, sent=sent)) for each in several]


def _results(items: Sequence[Marked | Refused], *, seen: set[str], sent: set[str]) -> Iterator[ItemResult]:
    """The first copy of a fact is what was sent, in whichever webhook it came; `seen` learns it."""
    for item in items:
        if isinstance(item, Refused):
            yield ItemResult(Outcome.INVALID, problems=item.problems)
            continue
        first = Outcome.ACCEPTED if item.mark in sent else Outcome.NOT_SENT
        yield ItemResult(Outcome.DUPLICATE if item.mark in seen else first, event_id=item.event_id)
        if item.mark in sent:
            seen.add(item.mark)
