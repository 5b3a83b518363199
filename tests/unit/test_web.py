"""What every service answers to a request that it cannot use."""

import httpx2
import psycopg
import pytest
from fastapi import FastAPI
from pydantic import BaseModel, Field

from shared.values import Text
from shared.web import IdInPath, IdInQuery, answer_errors


class Note(BaseModel):
    text: Text = Field(max_length=10)


def an_app() -> FastAPI:
    app = FastAPI()
    answer_errors(app)

    @app.post("/notes/{note_id}")
    async def keep(note_id: IdInPath, note: Note, of: IdInQuery = None) -> str:
        return note.text

    @app.get("/faults/{kind}")
    async def fault(kind: str) -> None:
        if kind == "data":
            raise psycopg.DataError("text fields cannot contain NUL")
        "\ud800".encode()

    return app


async def ask(method: str, path: str, body: bytes = b"") -> httpx2.Response:
    transport = httpx2.ASGITransport(app=an_app())
    async with httpx2.AsyncClient(transport=transport, base_url="http://service") as client:
        return await client.request(method, path, content=body, headers={"Content-Type": "application/json"})


@pytest.mark.parametrize("body", [b"{", b"", b"\xff\xfe", b'{"text": "\xff"}', b"[" * 100_000, b'{"text": NaN2}'])
async def test_what_is_not_json_is_400(body: bytes) -> None:
    answer = await ask("POST", "/notes/n1", body)
    # No body at all is a missing one, which has a name.
    assert answer.status_code == (400 if body else 422)
    assert answer.json()["detail"]


@pytest.mark.parametrize("body", [b"[]", b"3", b"{}", b'{"text": "a\\u0000"}', b'{"text": "\\ud800"}'])
async def test_json_that_does_not_fit_is_422_and_names_its_field(body: bytes) -> None:
    answer = await ask("POST", "/notes/n1", body)
    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"][0] == "body"


async def test_text_that_no_database_takes_is_told_in_words() -> None:
    answer = await ask("POST", "/notes/n1", b'{"text": "a\\u0000"}')
    assert "must be text without NUL characters" in answer.json()["detail"][0]["msg"]


async def test_text_may_have_several_lines() -> None:
    assert (await ask("POST", "/notes/n1", b'{"text": "a\\n\\tb"}')).json() == "a\n\tb"


@pytest.mark.parametrize(("path", "field"), [("/notes/%00", "note_id"), ("/notes/n1?of=%00", "of")])
async def test_an_id_that_no_database_takes_is_named(path: str, field: str) -> None:
    answer = await ask("POST", path, b'{"text": "a"}')
    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"][-1] == field


@pytest.mark.parametrize("kind", ["data", "encoding"])
async def test_what_a_type_let_through_and_the_database_refuses_is_no_fault_of_ours(kind: str) -> None:
    answer = await ask("GET", f"/faults/{kind}")
    assert answer.status_code == 422
    assert "without NUL" in answer.json()["detail"]
