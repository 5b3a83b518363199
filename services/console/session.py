"""Who is signed in: the API key travels in the browser's cookie, sealed, and is kept nowhere else."""

import base64
import hashlib
from collections.abc import Mapping
from datetime import timedelta

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from pydantic import Field, SecretStr, ValidationError
from starlette.responses import Response

from shared.events import Role
from shared.values import Value

PURPOSE = b"twintally console session"


class Session(Value):
    """A person with an API key, and what the services said of it at sign-in."""

    api_key: str = Field(repr=False)
    role: Role
    tenant_id: str | None
    livemode: bool
    name: str | None = None


class Sessions:
    """Seals sessions into cookies and opens them again."""

    def __init__(self, secret_key: SecretStr, *, lasts: timedelta, secure: bool, port: int) -> None:
        self._cipher = MultiFernet([Fernet(_own_key(key)) for key in secret_key.get_secret_value().split(",")])
        self._lasts_s = int(lasts.total_seconds())
        self._secure = secure
        # Cookies do not know ports: two consoles on one machine must not sign each other's people out.
        self.cookie = f"{'__Host-' if secure else ''}twintally-{port}"

    def keep(self, session: Session, response: Response) -> None:
        """Give the browser the session."""
        response.set_cookie(
            self.cookie,
            self._cipher.encrypt(session.model_dump_json().encode()).decode("ascii"),
            max_age=self._lasts_s,
            path="/",
            secure=self._secure,
            httponly=True,
            samesite="strict",
        )

    def find(self, cookies: Mapping[str, str]) -> Session | None:
        """The session of a request; None when there is none, or it has run out, or was not sealed by us."""
        try:
            text = self._cipher.decrypt(cookies.get(self.cookie, "").encode(), ttl=self._lasts_s)
            return Session.model_validate_json(text)
        except (InvalidToken, ValidationError):
            return None

    def end(self, response: Response) -> None:
        """Take the session from the browser."""
        response.delete_cookie(self.cookie, path="/", secure=self._secure, httponly=True, samesite="strict")


def _own_key(secret: str) -> bytes:
    """A key for sessions only: what other services seal with the same secret is no session, and the reverse."""
    raw = base64.urlsafe_b64decode(secret.strip())
    return base64.urlsafe_b64encode(hashlib.blake2b(PURPOSE, key=raw, digest_size=32).digest())
