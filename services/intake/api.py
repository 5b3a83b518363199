"""Intake's edge: webhooks in, and the API for platform secrets."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Annotated, assert_never
from uuid import uuid4

from fastapi import Depends, FastAPI, HTTPException, Path, Request
from fastapi.responses import Response
from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import to_json
from starlette.requests import ClientDisconnect
from starlette.routing import Route

from services.intake.domain import Delivery, ItemResult, Malformed, Outcome, Webhook, status_of
from services.intake.handlers import NotSigned, Parts, UnknownPlatform, read, take_in, verify
from services.intake.metrics import ITEMS, WEBHOOK_SECONDS, WEBHOOKS
from services.intake.settings import IntakeSettings
from services.intake.signatures import PlatformSecret, new_secret_text
from services.intake.store import PlatformSecrets
from services.intake.together import Together
from shared.access import Caller, KnowsKeys, Operator, require
from shared.kafka.producer import SteadyProducer
from shared.values import Platform
from shared.web import ONE_SPAN_PER_REQUEST, answer_errors

SIGNED_HEADERS = ("webhook-id", "webhook-timestamp", "webhook-signature")

_NAME: TypeAdapter[str] = TypeAdapter(Platform)


InPath = Annotated[str, Path(description="the platform's registered name")]


# Async: FastAPI would call it in a thread otherwise.
async def _well_named(platform: InPath) -> str:
    # A name that no platform can have is one that nobody has registered.
    try:
        return _NAME.validate_python(platform)
    except ValidationError:
        raise _no_platform(platform) from None


PlatformInPath = Annotated[str, Depends(_well_named)]
NewPlatform = Annotated[Platform, Path(description="the platform's name from now on")]
SecretKeeper = Annotated[Caller, Depends(require("operator", "platform"))]


class SecretView(BaseModel):
    """A platform secret as its owner sees it; the text only when it has just been made."""

    secret_id: str
    platform: str
    livemode: bool
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    secret: str | None = None


class Gate:
    """Back-pressure: how much may be under way at a time."""

    def __init__(self, settings: IntakeSettings, producer: SteadyProducer) -> None:
        self._settings = settings
        self._producer = producer
        self._bodies = 0
        self._bytes = 0
        self._under_way: Counter[str] = Counter()

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Let one body be read, whoever sends it; 503 when too many are, or when the broker is behind."""
        if self._producer.unacknowledged >= self._settings.unacknowledged_max:
            raise _refusal(503, "The stream is behind; send again later")
        if self._bodies >= self._settings.bodies_max:
            raise _refusal(503, "Too many bodies are being read; send again later")
        self._bodies += 1
        try:
            yield
        finally:
            self._bodies -= 1

    @contextmanager
    def memory(self) -> Iterator[Callable[[int], None]]:
        """Count the bytes that a request holds until its answer; what this gives takes more, or refuses with 503."""
        held = 0

        def hold(count: int) -> None:
            nonlocal held
            if self._bytes + count > self._settings.bodies_bytes_max:
                raise _refusal(503, "Too much is being taken in at once; send again later")
            held += count
            self._bytes += count

        try:
            yield hold
        finally:
            self._bytes -= held

    @contextmanager
    def passage(self, platform: str) -> Iterator[None]:
        """Let one verified request through; 429 for a platform that sends too much at once.

        Verified, so that nobody spends the places of a platform but the platform.
        """
        if self._under_way[platform] >= self._settings.platform_requests_max:
            raise _refusal(429, "Too many requests at once; send fewer at a time, or batches")
        self._under_way[platform] += 1
        try:
            yield
        finally:
            self._under_way[platform] -= 1
            if not self._under_way[platform]:
                del self._under_way[platform]


def build_app(settings: IntakeSettings, parts: Parts, producer: SteadyProducer, keys: KnowsKeys) -> FastAPI:
    """The application; `parts.secrets` also serves the API for secrets."""
    app = FastAPI(title="Twintally intake", version="1", telemetry=ONE_SPAN_PER_REQUEST)
    app.state.keys = keys
    answer_errors(app)
    gate = Gate(settings, producer)
    _add_webhooks(app, settings, parts, gate)
    if isinstance(parts.secrets, PlatformSecrets):
        _add_secrets(app, parts.secrets, overlap=timedelta(hours=settings.secret_overlap_h))
    return app


def _add_webhooks(app: FastAPI, settings: IntakeSettings, parts: Parts, gate: Gate) -> None:
    together = Together[Delivery, tuple[ItemResult, ...]](
        lambda several: take_in(several, parts), weight=lambda delivery: len(delivery.items)
    )

    async def receive(request: Request) -> Response:
        with WEBHOOK_SECONDS.time():
            try:
                platform = await _well_named(request.path_params["platform"])
                headers = dict(request.headers)
                with gate.memory() as hold:
                    with gate.reading():
                        await _refuse_strangers(platform, headers, parts, settings.webhook_bytes_max)
                        body = await _body(request, settings, hold)
                    webhook = Webhook(platform, headers, body, datetime.now(UTC))
                    secret = await _secret_of(webhook, parts)
                    with gate.passage(platform):
                        delivery = read(webhook, secret, upload_bytes_max=settings.upload_bytes_max)
                        if isinstance(delivery, Malformed):
                            raise HTTPException(400, delivery.problem)
                        results = await together.ask(delivery)
                answer = _respond(platform, results)
            except HTTPException as refusal:
                WEBHOOKS.labels(str(refusal.status_code)).inc()
                raise
        WEBHOOKS.labels(str(answer.status_code)).inc()
        return answer

    # Starlette's own route, the first to be tried: the body is read by hand, and FastAPI has nothing to resolve.
    app.router.routes.insert(0, Route("/v1/platforms/{platform}/webhooks", receive, methods=["POST"]))


async def _refuse_strangers(platform: str, headers: Mapping[str, str], parts: Parts, bytes_max: int) -> None:
    """Whoever cannot succeed is told before the body is read."""
    if await parts.secrets.of_platform(platform) is None:
        raise _no_platform(platform)
    if not all(name in headers for name in SIGNED_HEADERS):
        raise _not_signed()
    length = headers.get("content-length", "")
    if length.isdecimal() and int(length[:20]) > bytes_max:
        raise _too_large(bytes_max)


async def _secret_of(webhook: Webhook, parts: Parts) -> PlatformSecret:
    found = await verify(webhook, parts)
    match found:
        case UnknownPlatform():
            raise _no_platform(webhook.platform)
        case NotSigned():
            raise _not_signed()
        case PlatformSecret():
            return found
        case _:
            assert_never(found)


def _respond(platform: str, results: tuple[ItemResult, ...]) -> Response:
    for result in results:
        ITEMS.labels(platform, result.outcome.value).inc()
    status = status_of(results)
    headers = {"Retry-After": "2"} if status == 503 else None
    # pydantic's serializer: JSONResponse builds an encoder of Python's own for each answer.
    content = to_json({"results": [_view(result) for result in results]})
    return Response(content, status, headers, "application/json")


def _add_secrets(app: FastAPI, secrets: PlatformSecrets, *, overlap: timedelta) -> None:
    @app.put("/v1/platforms/{platform}", status_code=204)
    async def register(platform: NewPlatform, caller: Operator) -> None:
        await secrets.register(caller, platform)

    @app.post("/v1/platforms/{platform}/secrets", status_code=201)
    async def create(platform: PlatformInPath, caller: SecretKeeper) -> SecretView:
        """Make a secret; older ones of the same mode go on working for the overlap, so that it can be rotated in."""
        secret = PlatformSecret(
            secret_id=f"psec_{uuid4().hex}",
            platform=platform,
            livemode=caller.livemode,
            text=new_secret_text(),
            created_at=datetime.now(UTC),
        )
        if not _is_own(caller, platform) or not await secrets.add(caller, secret, overlap=overlap):
            raise _no_platform(platform)
        return _secret_view(secret, show=True)

    @app.get("/v1/platforms/{platform}/secrets")
    async def show(platform: PlatformInPath, caller: SecretKeeper) -> list[SecretView]:
        found = await secrets.list(caller, platform) if _is_own(caller, platform) else None
        if found is None:
            raise _no_platform(platform)
        return [_secret_view(secret, show=False) for secret in found]

    @app.delete("/v1/platforms/{platform}/secrets/{secret_id}", status_code=204)
    async def revoke(platform: PlatformInPath, secret_id: str, caller: SecretKeeper) -> None:
        # No database takes a NUL, and no secret has one in its name.
        if "\0" in secret_id or not await secrets.revoke(caller, platform, secret_id, datetime.now(UTC)):
            raise HTTPException(404, f"No secret {secret_id!r} of platform {platform!r}")


def _is_own(caller: Caller, platform: str) -> bool:
    return caller.role == "operator" or caller.tenant_id == platform


def _secret_view(secret: PlatformSecret, *, show: bool) -> SecretView:
    return SecretView(
        secret_id=secret.secret_id,
        platform=secret.platform,
        livemode=secret.livemode,
        created_at=secret.created_at,
        expires_at=secret.expires_at,
        revoked_at=secret.revoked_at,
        secret=secret.text if show else None,
    )


def _view(result: ItemResult) -> dict[str, object]:
    view: dict[str, object] = {"outcome": result.outcome.value}
    if result.event_id is not None:
        view["event_id"] = result.event_id
    if result.outcome is Outcome.INVALID:
        view["problems"] = list(result.problems)
    return view


async def _body(request: Request, settings: IntakeSettings, hold: Callable[[int], None]) -> bytes:
    taken = bytearray()
    try:
        async with asyncio.timeout(settings.body_within_s):
            async for chunk in request.stream():
                taken += chunk
                if len(taken) > settings.webhook_bytes_max:
                    raise _too_large(settings.webhook_bytes_max)
                hold(len(chunk))
    except TimeoutError:
        raise HTTPException(
            408, f"The body did not come within {settings.body_within_s:g} s; send it again, or a smaller one"
        ) from None
    except ClientDisconnect:
        raise HTTPException(400, "The connection ended before the body did; send it again") from None
    return bytes(taken)


def _no_platform(platform: str) -> HTTPException:
    return HTTPException(404, f"No platform {platform!r} is registered here")


def _not_signed() -> HTTPException:
    return HTTPException(
        401,
        "The signature does not verify: sign the raw body with a current secret of this platform, with the"
        " headers webhook-id, webhook-timestamp (within 5 minutes of now) and webhook-signature",
    )


def _too_large(bytes_max: int) -> HTTPException:
    return HTTPException(413, f"The body is larger than {bytes_max} bytes; send smaller batches")


def _refusal(status: int, text: str) -> HTTPException:
    return HTTPException(status, text, headers={"Retry-After": "2"})
