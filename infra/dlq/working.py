"""A dead letter goes back to the consumer that failed, or is given up; either is written down."""

import getpass
import json
import os
from collections.abc import Mapping
from typing import Any

import httpx2
from pydantic import SecretStr, TypeAdapter, ValidationError

from infra.dlq.box import LetterBox
from infra.dlq.letters import Letter, why_not_instead
from shared.dead_letters import PATH, ReplayRequest
from shared.events.topics import CLOCK
from shared.setting_types import ServiceUrl

TIMEOUT_S = 60.0
# What this consumer cannot learn stops all accusations until it is told to go on without it.
STOPS_ACCUSATIONS = "judging.lookups"
DROP_LOOKUP = "/v1/unreadable-lookups/drop"

_URL: TypeAdapter[str] = TypeAdapter(ServiceUrl)


class NotDone(Exception):  # noqa: N818 - an outcome that the operator is told
    """The letter stays as it was; the text says why, and what to do."""


class Services:
    """The services that have consumers, over HTTP, with an operator's API key."""

    def __init__(self, environment: Mapping[str, str], api_key: SecretStr | None) -> None:
        self._environment = environment
        self._api_key = api_key

    async def post(self, service: str, path: str, body: str) -> httpx2.Response:
        """Send JSON; NotDone when the service is unknown, away, or does not take the API key."""
        if self._api_key is None:
            raise NotDone("set TWINTALLY_API_KEY to an operator's API key")
        headers = {"Authorization": f"Bearer {self._api_key.get_secret_value()}", "Content-Type": "application/json"}
        url = self._url(service)
        try:
            async with httpx2.AsyncClient(headers=headers, timeout=TIMEOUT_S) as client:
                answer = await client.post(f"{url}{path}", content=body)
        except httpx2.HTTPError as error:
            raise NotDone(
                f"{service} does not answer at {url}: {type(error).__name__} {error}; is it running?"
            ) from error
        if answer.status_code in (401, 403):
            raise NotDone(f"{service} does not take this API key for an operator's: {_detail(answer)}")
        return answer

    def _url(self, service: str) -> str:
        variable = f"TWINTALLY_URL_{service.upper()}"
        try:
            return _URL.validate_python(self._environment[variable])
        except (KeyError, ValidationError) as error:
            got = self._environment.get(variable)
            told = f"got {got!r}" if got else "it is not set"
            raise NotDone(f"{variable} must be the address of {service}, like http://127.0.0.1:8006; {told}") from error


async def replay(box: LetterBox, services: Services, letter: Letter, *, instead: bytes | None = None) -> str:
    """Have the letter's consumer work it, with other bytes if given; returns what to tell. NotDone when it was not."""
    value = await _bytes_to_send(box, letter, instead)
    asked = ReplayRequest(
        consumer=letter.consumer,
        topic=letter.source.topic,
        partition=letter.source.partition,
        offset=letter.source.offset,
        key=letter.kept.key,
        value=value,
        repaired=instead is not None,
    )
    answer = await services.post(letter.service, PATH, asked.model_dump_json())
    if answer.status_code != 200:
        raise NotDone(_refusal(letter, answer))
    told: dict[str, Any] = answer.json()
    await box.resolve(letter, "replayed", by=str(told["by"]))
    if told["in_memory"]:
        return "worked by the process that answered; any other takes it in when it starts again"
    return "worked"


async def drop(box: LetterBox, services: Services, letter: Letter) -> str:
    """Give the letter up; where it stopped accusations they go on. Returns what to tell."""
    told = "dropped"
    if letter.consumer == STOPS_ACCUSATIONS and letter.source.topic != CLOCK.name:
        named = {"topic": letter.source.topic, "message_key": letter.message_key, "offset": letter.source.offset}
        answer = await services.post(letter.service, DROP_LOOKUP, json.dumps(named))
        # 404: it stops nobody, because it was repaired or dropped before.
        if answer.status_code not in (204, 404):
            raise NotDone(_refusal(letter, answer))
        told = "dropped; accusations go on without it" if answer.status_code == 204 else told
    await box.resolve(letter, "dropped", by=_person())
    return told


async def _bytes_to_send(box: LetterBox, letter: Letter, instead: bytes | None) -> bytes | None:
    cut = "cut" in letter.kept.headers
    if cut and instead is None:
        raise NotDone(f"its bytes were cut; take them from {letter.source} and replay with --value FILE")
    original = await box.value_of(letter)
    if instead is None:
        return original
    refusal = why_not_instead(letter, None if cut else original, instead)
    if refusal is not None:
        raise NotDone(refusal)
    return instead


def _refusal(letter: Letter, answer: httpx2.Response) -> str:
    match answer.status_code:
        case 422:
            return f"fails again: {_detail(answer)}"
        case 503:
            return f"{letter.service} cannot work it now: {_detail(answer)}"
        case _:
            return f"{letter.service} refused ({answer.status_code}): {_detail(answer)}"


def _detail(answer: httpx2.Response) -> str:
    try:
        return str(answer.json()["detail"])
    except (ValueError, KeyError, TypeError):
        return answer.text[:500]


def _person() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container whose user has no name
        return f"uid {os.getuid()}"
