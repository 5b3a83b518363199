"""How a service takes its dead letters back: over HTTP, each to the one consumer that failed."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from fastapi import FastAPI, HTTPException, Request
from pydantic import BaseModel, BeforeValidator, Field, PlainSerializer, ValidationError

from shared.access import Operator
from shared.events import decoded_bytes, encoded_bytes, problems_of
from shared.kafka import Record
from shared.kafka.batches import Effect
from shared.kafka.deadletters import error_text
from shared.kafka.passing import PASSING_FAULTS
from shared.logs import get_log

log = get_log()

PATH = "/v1/dead-letters/replay"
# A letter of several records' worth, in base64: its sender may have compressed it.
BODY_BYTES_MAX = 64 * 1024 * 1024

Base64 = Annotated[
    bytes,
    BeforeValidator(lambda given: decoded_bytes(given) if isinstance(given, str) else given),
    PlainSerializer(encoded_bytes, when_used="json"),
]


@dataclass(frozen=True)
class Replays:
    """How a consumer works one record: exactly as its stream does.

    `in_memory`: what it takes in is gone with its process, which reads its topic from the beginning at each start.
    """

    effect: Effect
    in_memory: bool = False


class ReplayRequest(BaseModel):
    """A dead letter as its consumer met it; `repaired` when the bytes are others than those that lie in the topic."""

    consumer: str = Field(examples=["royalty"])
    topic: str = Field(examples=["usage.v1"])
    partition: int = Field(ge=0)
    offset: int = Field(ge=0)
    key: Base64 | None = Field(description="base64")
    value: Base64 | None = Field(description="base64")
    repaired: bool = False

    def record(self) -> Record:
        """The record."""
        return Record(self.topic, self.partition, self.offset, self.key, self.value)


class ReplayAnswer(BaseModel):
    """The letter was worked, by the order of this API key."""

    by: str
    in_memory: bool


def add_replays(app: FastAPI, consumers: Mapping[str, Replays]) -> None:
    """Add the page that works dead letters: 200 when worked, 422 when it fails for its own reason again.

    503 for a passing fault, 404 for a consumer that this service does not have.
    """
    body = {"content": {"application/json": {"schema": ReplayRequest.model_json_schema()}}, "required": True}

    @app.post(PATH, openapi_extra={"requestBody": body})
    async def replay(request: Request, caller: Operator) -> ReplayAnswer:
        """Work one dead letter again, by the consumer that failed and by no other."""
        if not caller.livemode:
            raise HTTPException(403, "A sandbox key may not work dead letters: they may be live ones")
        # Read here: nobody but an operator may make us hold so much.
        asked = await _asked(request)
        consumer = consumers.get(asked.consumer)
        if consumer is None:
            known = ", ".join(sorted(consumers))
            raise HTTPException(404, f"No consumer {asked.consumer!r} here; this service has: {known}")
        if asked.repaired and consumer.in_memory:
            raise HTTPException(
                409,
                f"{asked.consumer} reads {asked.topic} anew at each start and would forget a repaired record;"
                f" have the owner of {asked.topic} publish the key again, then drop the letter",
            )
        await _work(asked, consumer)
        log.info("dead_letter_replayed", consumer=asked.consumer, source=_source(asked), by=caller.api_key_id)
        return ReplayAnswer(by=caller.api_key_id, in_memory=consumer.in_memory)


async def _asked(request: Request) -> ReplayRequest:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > BODY_BYTES_MAX:
            raise HTTPException(413, f"The body is larger than {BODY_BYTES_MAX} bytes")
    try:
        return ReplayRequest.model_validate_json(bytes(body))
    except ValidationError as error:
        raise HTTPException(400, "; ".join(problems_of(error))) from error


async def _work(asked: ReplayRequest, consumer: Replays) -> None:
    try:
        await consumer.effect([asked.record()])
    except PASSING_FAULTS as error:
        log.warning("replay_waits", consumer=asked.consumer, source=_source(asked), error=error_text(error))
        raise HTTPException(503, f"Not now: {error_text(error)}; send again", headers={"Retry-After": "2"}) from error
    except Exception as error:
        log.warning("replay_failed", consumer=asked.consumer, source=_source(asked), error=error_text(error))
        raise HTTPException(422, error_text(error)) from error


def _source(asked: ReplayRequest) -> str:
    return f"{asked.topic}/{asked.partition}/{asked.offset}"
