"""A dead letter sent back: what the service that takes it answers, and what the command refuses before it asks."""

from collections.abc import Sequence
from typing import Any

import pytest
from fastapi import FastAPI
from pydantic import SecretStr
from starlette.testclient import TestClient
from typer.testing import CliRunner

from infra.dlq.cli import app
from infra.dlq.working import NotDone, Services
from shared.access import Caller
from shared.dead_letters import PATH, Replays, add_replays
from shared.events import Unreadable, encoded_bytes
from shared.kafka import Record


class Keys:
    async def caller_of(self, api_key: str) -> Caller | None:
        return Caller("key-1", "agency" if api_key == "agency" else "operator", None, api_key != "sandbox")


@pytest.fixture
def pages() -> TestClient:
    worked: list[Record] = []

    async def works(batch: Sequence[Record]) -> None:
        match batch[0].value:
            case b"bad":
                raise Unreadable("value: bad")
            case b"wait":
                raise ConnectionError("the database is away")
        worked.extend(batch)

    service = FastAPI()
    service.state.keys, service.state.worked = Keys(), worked
    add_replays(service, {"royalty": Replays(works), "royalty.access": Replays(works, in_memory=True)})
    return TestClient(service, headers={"Authorization": "Bearer operator"})


def asked(value: bytes | None, **changes: Any) -> dict[str, Any]:
    told = {"consumer": "royalty", "topic": "usage.v1", "partition": 3, "offset": 7, "key": encoded_bytes(b"use-1")}
    return {**told, "value": None if value is None else encoded_bytes(value), **changes}


def test_a_letter_is_worked_by_its_consumer_as_the_record_that_it_was(pages: TestClient) -> None:
    answer = pages.post(PATH, json=asked(b"good\xff"))
    assert (answer.status_code, answer.json()) == (200, {"by": "key-1", "in_memory": False})
    assert pages.post(PATH, json=asked(None, key=None)).status_code == 200
    first, second = pages.app.state.worked  # type: ignore[attr-defined]
    assert first == Record("usage.v1", 3, 7, b"use-1", b"good\xff")
    assert (second.key, second.value) == (None, None)


def test_a_sandbox_key_works_none_for_the_bytes_may_say_that_they_are_live(pages: TestClient) -> None:
    answer = pages.post(PATH, json=asked(b"good"), headers={"Authorization": "Bearer sandbox"})
    assert answer.status_code == 403
    assert "sandbox" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("body", "status", "text"),
    [
        (asked(b"bad"), 422, "Unreadable: value: bad"),
        (asked(b"wait"), 503, "the database is away"),
        (asked(b"good", consumer="judging"), 404, "this service has: royalty, royalty.access"),
        (asked(b"good", consumer="royalty.access", repaired=True), 409, "publish the key again"),
        (asked(b"good", offset=-1), 400, "offset"),
        (asked(b"good", key="no base64"), 400, "key"),
    ],
)
def test_a_letter_that_is_not_worked_says_why(pages: TestClient, body: Any, status: int, text: str) -> None:
    answer = pages.post(PATH, json=body)
    assert answer.status_code == status
    assert text in answer.json()["detail"]


def test_only_an_operator_may_replay(pages: TestClient) -> None:
    assert pages.post(PATH, json=asked(b"good"), headers={"Authorization": "Bearer agency"}).status_code == 403


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("replay",), "name letters by their ID, or take all with --all"),
        (("drop", "1", "--all"), "name letters by their ID, or take all with --all"),
        (("replay", "1", "2", "--value", __file__), "exactly one ID"),
        (("list", "--topic", "nope.v1"), "there is no topic 'nope.v1'"),
    ],
)
def test_a_command_that_cannot_be_meant_is_refused_before_anything_is_asked(words: tuple[str, ...], said: str) -> None:
    done = CliRunner().invoke(app, words, env={"COLUMNS": "200"})
    assert done.exit_code == 2
    assert said in " ".join(done.stderr.replace("│", " ").split())


@pytest.mark.parametrize(
    ("environment", "key", "said"),
    [
        ({}, None, "TWINTALLY_API_KEY"),
        ({}, "k", "TWINTALLY_URL_ROYALTY must be the address of royalty, like http://127.0.0.1:8006; it is not set"),
        ({"TWINTALLY_URL_ROYALTY": "royalty:8006"}, "k", "got 'royalty:8006'"),
        ({"TWINTALLY_URL_ROYALTY": "http://127.0.0.1:1"}, "k", "royalty does not answer at http://127.0.0.1:1"),
    ],
)
async def test_a_service_that_cannot_be_asked_is_named_with_its_remedy(
    environment: dict[str, str], key: str | None, said: str
) -> None:
    with pytest.raises(NotDone) as told:
        await Services(environment, SecretStr(key) if key else None).post("royalty", PATH, "{}")
    assert said in str(told.value)
