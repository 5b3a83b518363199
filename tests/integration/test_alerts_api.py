"""What an agency sees and may do, and what it may not."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from shared.database import every
from tests.alerts_house import NOON, PICTURE, House, Receiver, an_infringement, listening, standing_house, until


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with listening(Receiver()) as found:
        yield found


@pytest.fixture
async def house(stack: Any, receiver: Receiver) -> AsyncIterator[House]:
    async with standing_house(stack, receiver.port) as found:
        yield found


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("http://127.0.0.1/", "not a public address"),
        ("http://169.254.169.254/latest", "not a public address"),
        ("http://[::1]/", "not a public address"),
        ("ftp://agency.example/", "http"),
        ("https://user:word@agency.example/", "password"),
        ("https://agency.example:8443/", "port"),
    ],
)
async def test_an_endpoint_that_we_would_not_ask_is_refused_at_once(house: House, url: str, says: str) -> None:
    answer = await house.ask("POST", "/v1/endpoints", json={"url": url})
    assert answer.status_code == 422
    (problem,) = answer.json()["detail"]
    assert problem["loc"] == ["body", "url"]
    assert says in problem["msg"]


async def test_a_deleted_endpoint_gets_nothing_more(house: House, receiver: Receiver) -> None:
    made = await house.endpoint(receiver.url)
    await house.take(an_infringement("use-1"))
    assert (await house.ask("DELETE", f"/v1/endpoints/{made['endpoint_id']}")).status_code == 204
    assert (await house.ask("DELETE", f"/v1/endpoints/{made['endpoint_id']}")).status_code == 404
    async with house.delivering():
        await house.take(an_infringement("use-2"))
        await asyncio.sleep(0.4)
    assert await house.statuses() == ["cancelled"]
    assert receiver.received == []
    assert (await house.ask("GET", "/v1/endpoints")).json() == []


async def test_the_past_makes_no_live_alert(house: House, receiver: Receiver) -> None:
    await house.endpoint(receiver.url)
    async with house.delivering():
        await house.take(an_infringement("use-1", backfill=True))
        await asyncio.sleep(0.4)
    assert receiver.received == []
    (alert,) = (await house.ask("GET", "/v1/cases/use-1")).json()["alerts"]
    assert (alert["kind"], alert["digested"], alert["deliveries"]) == ("opened", True, [])


async def test_sandbox_alerts_go_to_sandbox_endpoints_only(house: House, receiver: Receiver) -> None:
    await house.endpoint(receiver.url)
    secret = (await house.endpoint(receiver.url, "agency:agency-1:test"))["secret"]
    async with house.delivering():
        await house.take(an_infringement("use-1", livemode=False))
        await until(lambda: receiver.received)
        await asyncio.sleep(0.3)
    (told,) = receiver.told(secret)
    assert told["data"]["livemode"] is False
    assert (await house.ask("GET", "/v1/cases/use-1")).status_code == 404
    assert (await house.ask("GET", "/v1/cases/use-1", "agency:agency-1:test")).status_code == 200


async def test_a_tenant_sees_its_own_and_the_operator_all(house: House, receiver: Receiver) -> None:
    made = await house.endpoint(receiver.url)
    await house.take(an_infringement("use-1"), an_infringement("use-2", agency_id="agency-2"))
    foreign = "agency:agency-2"
    assert (await house.ask("GET", "/v1/cases/use-1", foreign)).status_code == 404
    assert (await house.ask("POST", "/v1/cases/use-1/acknowledge", foreign)).status_code == 404
    assert (await house.ask("POST", f"/v1/endpoints/{made['endpoint_id']}/rotate", foreign)).status_code == 404
    assert (await house.ask("DELETE", f"/v1/endpoints/{made['endpoint_id']}", foreign)).status_code == 404
    assert (await house.ask("GET", "/v1/endpoints", foreign)).json() == []
    assert await _uses(house, foreign) == ["use-2"]
    assert await _uses(house, "agency:agency-1") == ["use-1"]
    assert sorted(await _uses(house, "operator:")) == ["use-1", "use-2"]
    assert (await house.ask("GET", "/v1/cases", "brand:b")).status_code == 403
    async with house.api.transaction() as connection:
        for table in ("cases", "case_steps", "alerts", "endpoints", "endpoint_secrets", "deliveries"):
            assert await every(connection, f"select * from {table}") == []


async def test_when_another_agency_takes_over_each_sees_its_own_part(house: House) -> None:
    await house.take(an_infringement("use-1"), an_infringement("use-1", 2, agency_id="agency-2"))
    assert await _uses(house, "agency:agency-1") == []
    shown = (await house.ask("GET", "/v1/cases/use-1", "agency:agency-2")).json()
    assert [(alert["kind"], alert["sequence"]) for alert in shown["alerts"]] == [("opened", 3)]
    assert [step["kind"] for step in shown["steps"]] == ["opened"]


async def _uses(house: House, key: str, **query: Any) -> list[str]:
    return [case["use_id"] for case in (await house.ask("GET", "/v1/cases", key, params=query)).json()["cases"]]


async def test_acknowledging_writes_who_when_and_why_once(house: House) -> None:
    await house.take(an_infringement("use-1"))
    for _ in range(2):
        answer = await house.ask("POST", "/v1/cases/use-1/acknowledge", json={"why": "we write to them"})
        assert answer.status_code == 200
    shown = answer.json()
    assert shown["status"] == "acknowledged"
    assert [(step["kind"], step["done_by"], step["why"]) for step in shown["steps"]] == [
        ("opened", "judging", "no license with this brand"),
        ("acknowledged", "key-agency-1", "we write to them"),
    ]
    assert shown["sightings"][0]["media"]["digest"] == PICTURE
    await house.take(an_infringement("use-1", 2, status="withdrawn"))
    answer = await house.ask("POST", "/v1/cases/use-1/acknowledge", json={})
    assert answer.status_code == 409
    assert "withdrawn" in answer.json()["detail"]


async def test_cases_come_in_pages_newest_first_and_by_status(house: House) -> None:
    await house.take(
        *(an_infringement(f"use-{number}", occurred_at=NOON + timedelta(minutes=number)) for number in range(5)),
        an_infringement("use-never-told", status="withdrawn"),
    )
    await house.take(an_infringement("use-3", 2, status="withdrawn"))
    first = (await house.ask("GET", "/v1/cases", params={"limit": 3})).json()
    assert [case["use_id"] for case in first["cases"]] == ["use-4", "use-3", "use-2"]
    rest = (await house.ask("GET", "/v1/cases", params={"limit": 3, "after": first["next"]})).json()
    assert [case["use_id"] for case in rest["cases"]] == ["use-1", "use-0"]
    assert rest["next"] is None
    assert await _uses(house, "agency:agency-1", status="withdrawn") == ["use-3"]
    assert (await house.ask("GET", "/v1/cases", params={"status": "odd"})).status_code == 422


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/v1/cases/%00", b""),
        ("GET", "/v1/cases?after=%00", b""),
        ("POST", "/v1/cases/%00/acknowledge", b"{}"),
        ("POST", "/v1/cases/use-1/acknowledge", b'{"why": "a\\u0000b"}'),
        ("POST", "/v1/cases/use-1/acknowledge", b'{"why": "\\ud800"}'),
        ("POST", "/v1/endpoints", b'{"url": "https://agency.example/\\u0000"}'),
        ("POST", "/v1/endpoints", b'{"url": "https://agency.example/\\ud800"}'),
        ("POST", "/v1/endpoints/%00/rotate", b""),
        ("DELETE", "/v1/endpoints/%00", b""),
    ],
)
async def test_what_no_database_takes_is_refused_by_field(house: House, method: str, path: str, body: bytes) -> None:
    await house.take(an_infringement("use-1"))
    answer = await house.ask(method, path, content=body)
    assert answer.status_code == 422, answer.text
    assert answer.json()["detail"][0]["loc"][-1] in ("use_id", "after", "why", "url", "endpoint_id")


@pytest.mark.parametrize("path", ["/v1/endpoints", "/v1/cases/use-1/acknowledge"])
async def test_a_body_that_is_not_json_is_400(house: House, path: str) -> None:
    await house.take(an_infringement("use-1"))
    assert (await house.ask("POST", path, content=b"{")).status_code == 400
