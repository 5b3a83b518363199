"""The services behind the console, asked with the API key of the person who looks."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import TypeVar
from urllib.parse import quote, unquote

import httpx2
from pydantic import ValidationError

from services.console.answers import Case, CasePage, LedgerBalance, Refusal, Statement, StatementRow
from services.console.metrics import UPSTREAM_SECONDS
from services.console.session import Session
from shared.logs import get_log
from shared.values import Value

log = get_log()

# What tells whom a key belongs to: each of them says it with every answer, be it a refusal. Registry keeps the keys.
WHOSE = (("registry", "/v1/brands"), ("royalty", "/v1/statements"), ("alerts", "/v1/cases"))
HEALTH_TIMEOUT_S = 2.0
IMAGE_TYPES = frozenset({"image/jpeg", "image/png", "image/gif", "image/webp"})

Answered = TypeVar("Answered", bound=Value)


class Away(Exception):  # noqa: N818 - the state of the other side
    """A service does not answer, or answers what cannot be read."""

    def __init__(self, service: str, reason: str) -> None:
        super().__init__(f"{service}: {reason}")
        self.service = service
        self.reason = reason


class Refused(Exception):  # noqa: N818 - an answer, not an error
    """A service will not do what it was asked; `status` is its HTTP status, `text` says why, for people."""

    def __init__(self, service: str, status: int, text: str) -> None:
        super().__init__(f"{service} answered {status}: {text}")
        self.service = service
        self.status = status
        self.text = text


class KeyRefused(Exception):  # noqa: N818 - an answer, not an error
    """No service knows this API key."""


class _Statements(Value):
    rows: tuple[StatementRow, ...]


@dataclass(frozen=True)
class Picture:
    """An image on its way through."""

    content_type: str
    length: str | None
    chunks: AsyncIterator[bytes]


class Services:
    """Asks the other services; close it with `aclose()`. Follows no redirect, takes nothing from the environment."""

    def __init__(self, addresses: Mapping[str, str], *, timeout_s: float) -> None:
        self._addresses = addresses
        self._client = httpx2.AsyncClient(
            timeout=httpx2.Timeout(timeout_s, connect=min(timeout_s, 3.0)),
            limits=httpx2.Limits(max_connections=100, max_keepalive_connections=20),
            headers={"Accept-Encoding": "identity", "User-Agent": "Twintally console/1"},
            trust_env=False,
        )

    async def aclose(self) -> None:
        """Close every connection."""
        await self._client.aclose()

    async def session_of(self, api_key: str) -> Session:
        """Who holds this key; KeyRefused when nobody who must know it does, Away when nobody answers."""
        away: Away | None = None
        is_refused = False
        for service, path in WHOSE:
            try:
                answer = await self._send(service, path, api_key=api_key, query={"limit": "1"})
            except Away as trouble:
                away = trouble
                continue
            session = _whose(answer, api_key)
            if session is not None:
                return session
            if answer.status_code != 401:
                away = Away(service, f"answered {answer.status_code}")
                continue
            is_refused = True
            # Registry looks into its own table. The others may have started just now, and not have read all keys yet.
            if service == "registry":
                break
        if is_refused or away is None:
            raise KeyRefused
        raise away

    async def cases(self, session: Session, *, status: str | None, after: str | None, limit: int) -> CasePage:
        """Cases, newest first."""
        query = {"status": status, "after": after, "limit": str(limit)}
        return await self.get("alerts", "/v1/cases", session, CasePage, query)

    async def case(self, session: Session, use_id: str) -> Case:
        """One case with its sightings, history and alerts."""
        return await self.get("alerts", f"/v1/cases/{quote(use_id, safe='')}", session, Case)

    async def acknowledge(self, session: Session, use_id: str, why: str) -> None:
        """Say that a person works on the case."""
        path = f"/v1/cases/{quote(use_id, safe='')}/acknowledge"
        await self._checked("alerts", path, session, body={"why": why})

    async def statements(
        self, session: Session, *, period: str | None = None, payee: str | None = None, limit: int, offset: int = 0
    ) -> tuple[StatementRow, ...]:
        """Statements, newest period first."""
        query = {"period": period, "payee": payee, "limit": str(limit), "offset": str(offset)}
        answer = await self._checked("royalty", "/v1/statements", session, query=query)
        return _read("royalty", _Statements, b'{"rows":' + answer.content + b"}").rows

    async def statement(self, session: Session, statement_id: str) -> Statement:
        """One statement with its lines."""
        return await self.get("royalty", f"/v1/statements/{quote(statement_id, safe='')}", session, Statement)

    async def balance(self, session: Session) -> LedgerBalance:
        """Does the ledger balance?"""
        return await self.get("royalty", "/v1/ledger/balance", session, LedgerBalance)

    async def published_image(self, session: Session, digest: str) -> Picture:
        """A published image as it was fetched."""
        return await self._picture("matching", f"/v1/media/{quote(digest, safe=':')}", session)

    async def reference_image(self, session: Session, reference_id: str) -> Picture:
        """The registered image of a reference."""
        return await self._picture("registry", f"/v1/references/{quote(reference_id, safe='')}/image", session)

    async def health(self) -> dict[str, str | None]:
        """Service name to what is wrong with it, or None."""
        names = list(self._addresses)
        return dict(zip(names, await asyncio.gather(*(self._health_of(name) for name in names)), strict=True))

    async def _health_of(self, service: str) -> str | None:
        try:
            async with asyncio.timeout(HEALTH_TIMEOUT_S):
                answer = await self._send(service, "/health/ready", api_key=None)
        except (Away, TimeoutError):
            return "does not answer"
        if answer.status_code == 200:
            return None
        try:
            told: dict[str, str] = answer.json()
            return "; ".join(f"{name}: {problem}" for name, problem in told.items() if problem != "ok")
        except (ValueError, AttributeError):
            return f"answered {answer.status_code}"

    async def get(
        self,
        service: str,
        path: str,
        session: Session,
        kind: type[Answered],
        query: Mapping[str, str | None] | None = None,
    ) -> Answered:
        """What a service answers, as this kind; Away, Refused or KeyRefused."""
        return _read(service, kind, (await self._checked(service, path, session, query=query)).content)

    async def _checked(
        self,
        service: str,
        path: str,
        session: Session,
        *,
        query: Mapping[str, str | None] | None = None,
        body: dict[str, str] | None = None,
    ) -> httpx2.Response:
        answer = await self._send(service, path, api_key=session.api_key, query=query, body=body)
        await self._check(service, answer, session)
        return answer

    async def _check(self, service: str, answer: httpx2.Response, session: Session) -> None:
        if answer.status_code == 401:
            # Revoked, or this one service has just started and has not read all keys yet? Another one knows.
            await self.session_of(session.api_key)
            raise Away(service, "does not know the API key yet")
        if answer.status_code >= 400:
            raise Refused(service, answer.status_code, _why(answer))

    async def _picture(self, service: str, path: str, session: Session) -> Picture:
        answer = await self._send(service, path, api_key=session.api_key, stream=True)
        try:
            if answer.status_code != 200:
                await answer.aread()
                await self._check(service, answer, session)
            kind = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
            if answer.status_code != 200 or kind not in IMAGE_TYPES:
                raise Refused(service, 404, "what is kept here is not a picture that a browser can show")
        except BaseException:
            await answer.aclose()
            raise
        return Picture(kind, answer.headers.get("content-length"), _chunks(answer))

    async def _send(
        self,
        service: str,
        path: str,
        *,
        api_key: str | None,
        query: Mapping[str, str | None] | None = None,
        body: dict[str, str] | None = None,
        stream: bool = False,
    ) -> httpx2.Response:
        request = self._client.build_request(
            "GET" if body is None else "POST",
            self._addresses[service] + path,
            params={name: value for name, value in (query or {}).items() if value is not None},
            headers={"Authorization": f"Bearer {api_key}"} if api_key else {},
            json=body,
        )
        started = time.monotonic()
        outcome = "away"
        try:
            answer = await self._client.send(request, stream=stream)
            outcome = "failed" if answer.status_code >= 500 else "answered"
        except httpx2.HTTPError as error:
            log.warning("service_away", away=service, error=type(error).__name__)
            raise Away(service, "does not answer") from error
        finally:
            UPSTREAM_SECONDS.labels(service, outcome).observe(time.monotonic() - started)
        if outcome == "failed" and not path.startswith("/health/"):
            await answer.aclose()
            log.warning("service_away", away=service, status=answer.status_code)
            raise Away(service, f"answered {answer.status_code}")
        return answer


async def _chunks(answer: httpx2.Response) -> AsyncIterator[bytes]:
    try:
        async for chunk in answer.aiter_bytes():
            yield chunk
    finally:
        await answer.aclose()


def _whose(answer: httpx2.Response, api_key: str) -> Session | None:
    told = answer.headers
    if answer.status_code not in (200, 403) or "twintally-role" not in told:
        return None
    return Session.model_validate(
        {
            "api_key": api_key,
            "role": told["twintally-role"],
            "tenant_id": unquote(told.get("twintally-tenant", "")) or None,
            "livemode": told.get("twintally-livemode") == "true",
        }
    )


def _why(answer: httpx2.Response) -> str:
    try:
        return Refusal.model_validate_json(answer.content).text()
    except ValidationError:
        return ""


def _read(service: str, kind: type[Answered], content: bytes) -> Answered:
    try:
        return kind.model_validate_json(content)
    except ValidationError as error:
        log.error("answer_unreadable", away=service, error=str(error.errors(include_url=False, include_input=False)))
        raise Away(service, "answered something that this page cannot read") from error
