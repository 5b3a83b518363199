"""Standard Webhooks signatures: raw bytes, constant time, a time window, overlapping secrets."""

import secrets
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

from standardwebhooks import Webhook, WebhookVerificationError


@dataclass(frozen=True)
class PlatformSecret:
    """A secret that one platform signs with, until it expires or is revoked."""

    secret_id: str
    platform: str
    livemode: bool
    text: str
    created_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None

    @cached_property
    def verifier(self) -> Webhook:
        """Standard Webhooks' own check of what this secret signed."""
        return Webhook(self.text)

    def is_valid(self, now: datetime) -> bool:
        """Is it usable at this moment? Not from its expiry on, nor once revoked."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


def new_secret_text() -> str:
    """A fresh secret in the form of Standard Webhooks: `whsec_` and the base64 of 32 random bytes."""
    return "whsec_" + b64encode(secrets.token_bytes(32)).decode("ascii")


def signer_of(
    body: bytes, headers: Mapping[str, str], candidates: Sequence[PlatformSecret], now: datetime
) -> PlatformSecret | None:
    """The valid secret that signed these bytes within five minutes of now, or None.

    Source: the Standard Webhooks specification, verified by its own library.
    """
    signed = {name.lower(): value for name, value in headers.items()}
    for secret in candidates:
        if secret.is_valid(now) and _verifies(secret, body, signed):
            return secret
    return None


def _verifies(secret: PlatformSecret, body: bytes, headers: dict[str, str]) -> bool:
    try:
        secret.verifier.verify(body, headers, json_parse=False)
    except (WebhookVerificationError, ValueError, OverflowError):
        # ValueError: a signature that is no base64 or has no version, or a body that is not UTF-8.
        return False
    return True
