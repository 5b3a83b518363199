"""How an alert reaches an endpoint: signatures, what an answer means, and when to try again."""

import secrets
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from standardwebhooks import Webhook

from shared.ids import derived_id

# Nine attempts within about a day.
PAUSES_S = (5.0, 30.0, 120.0, 600.0, 3600.0, 3 * 3600.0, 6 * 3600.0, 12 * 3600.0)
JITTER = 0.2
ENDPOINT_GONE = 410


@dataclass(frozen=True)
class Attempt:
    """One claimed try to deliver one alert to one endpoint; `number` counts from 1."""

    delivery_id: UUID
    number: int
    event_id: UUID
    endpoint_id: str
    url: str
    secrets: tuple[str, ...]
    sequence: int
    body: str
    traceparent: str | None = None

    @property
    def attempt_id(self) -> UUID:
        """Tells one attempt of a delivery from the next."""
        return derived_id("attempt", str(self.delivery_id), self.number)


@dataclass(frozen=True)
class StatusTold:
    """The endpoint answered."""

    status: int


@dataclass(frozen=True)
class NotReached:
    """No usable answer; another time may be better."""

    reason: str
    status: int | None = None


@dataclass(frozen=True)
class NotAllowed:
    """Our own rules forbid to ask this address."""

    reason: str


Answer = StatusTold | NotReached | NotAllowed


@dataclass(frozen=True)
class Delivered:
    """The endpoint took the alert."""

    status: int


@dataclass(frozen=True)
class TryAgain:
    """Later."""

    pause: timedelta
    reason: str
    status: int | None


@dataclass(frozen=True)
class GaveUp:
    """The last attempt has failed."""

    reason: str
    status: int | None


@dataclass(frozen=True)
class Failed:
    """No attempt will ever succeed."""

    reason: str


@dataclass(frozen=True)
class EndpointGone:
    """The endpoint answered 410: it wants nothing any more."""


Outcome = Delivered | TryAgain | GaveUp | Failed | EndpointGone


def outcome_of(answer: Answer, *, attempt: int, jitter: float, pauses_s: Sequence[float] = PAUSES_S) -> Outcome:
    """What follows from the answer to the given attempt; `jitter` is chance between 0 and 1.

    Only 2xx is a success. Redirects and 4xx are tried again: an endpoint under repair answers them too.
    """
    match answer:
        case StatusTold(status) if 200 <= status < 300:
            return Delivered(status)
        case StatusTold(status) if status == ENDPOINT_GONE:
            return EndpointGone()
        case NotAllowed(reason):
            return Failed(reason)
        case StatusTold(status):
            reason, told = f"the endpoint answered {status}", status
        case NotReached(reason, told_or_none):
            return _later(reason, told_or_none, attempt=attempt, jitter=jitter, pauses_s=pauses_s)
    return _later(reason, told, attempt=attempt, jitter=jitter, pauses_s=pauses_s)


def headers_of(attempt: Attempt, now: datetime) -> dict[str, str]:
    """The Standard Webhooks headers, one signature per valid secret, and which attempt this is."""
    event_id = str(attempt.event_id)
    signatures = [Webhook(secret).sign(event_id, now, attempt.body) for secret in attempt.secrets]
    return {
        "Content-Type": "application/json",
        "webhook-id": event_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": " ".join(signatures),
        "twintally-delivery-id": str(attempt.attempt_id),
        "twintally-sequence": str(attempt.sequence),
    }


def new_secret_text() -> str:
    """A fresh secret in the form of Standard Webhooks: `whsec_` and the base64 of 32 random bytes."""
    return "whsec_" + b64encode(secrets.token_bytes(32)).decode("ascii")


def _later(
    reason: str, status: int | None, *, attempt: int, jitter: float, pauses_s: Sequence[float]
) -> TryAgain | GaveUp:
    if attempt > len(pauses_s):
        return GaveUp(reason, status)
    return TryAgain(timedelta(seconds=pauses_s[attempt - 1] * (1 + JITTER * jitter)), reason, status)
