"""Alerts leave signed, once, in order, and find their way when a receiver does not answer."""

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from standardwebhooks import WebhookVerificationError

from services.alerts.delivery import Delivered, TryAgain
from shared.access import Caller
from shared.database import every
from shared.kafka import Record
from tests.alerts_house import (
    NOON,
    OTHER_PICTURE,
    PICTURE,
    House,
    Receiver,
    an_infringement,
    listening,
    standing_house,
    until,
)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with listening(Receiver()) as found:
        yield found


@pytest.fixture
async def house(stack: Any, receiver: Receiver) -> AsyncIterator[House]:
    async with standing_house(stack, receiver.port) as found:
        yield found


async def test_an_infringement_is_told_once_signed_and_within_a_second(house: House, receiver: Receiver) -> None:
    secret = (await house.endpoint(receiver.url))["secret"]
    found = an_infringement("use-1")
    async with house.delivering():
        began = time.monotonic()
        await house.take(found, found)
        await house.take(found)
        await until(lambda: receiver.received)
        assert time.monotonic() - began < 1.0
        await asyncio.sleep(0.5)
    (told,) = receiver.told(secret)
    assert told["type"] == "infringement.opened"
    assert (told["data"]["use_id"], told["data"]["sequence"]) == ("use-1", 1)
    assert await house.statuses() == ["delivered"]


async def test_changes_and_withdrawal_arrive_in_order_with_growing_sequence(house: House, receiver: Receiver) -> None:
    secret = (await house.endpoint(receiver.url))["secret"]
    receiver.status = lambda count: 500 if count <= 2 else 200
    async with house.delivering():
        await house.take(
            an_infringement("use-1", 1),
            an_infringement("use-1", 2, media=(PICTURE, OTHER_PICTURE)),
            an_infringement("use-1", 3, status="withdrawn"),
        )
        await until(lambda: len(receiver.received) >= 5)
    told = [(payload["type"], payload["data"]["sequence"]) for payload in receiver.told(secret)]
    assert told == [
        ("infringement.opened", 1),
        ("infringement.opened", 1),
        ("infringement.opened", 1),
        ("infringement.changed", 2),
        ("infringement.withdrawn", 3),
    ]


async def test_a_receiver_that_is_down_gets_the_same_alert_when_it_is_back(stack: Any) -> None:
    down = Receiver()
    async with listening(down):
        pass
    async with standing_house(stack, down.port) as house:
        await _down_then_up(house, down)


async def _down_then_up(house: House, down: Receiver) -> None:
    secret = (await house.endpoint(down.url))["secret"]
    async with house.delivering(pauses_s=(0.2,) * 20):
        await house.take(an_infringement("use-1"))

        async def tried() -> bool:
            return (await house.deliveries())[0]["attempts"] >= 2

        await until(tried)
        async with listening(down, down.port):
            await until(lambda: down.received)
            await asyncio.sleep(0.5)
    assert len(down.told(secret)) == 1
    (row,) = await house.deliveries()
    assert (row["status"], row["last_status"]) == ("delivered", 200)
    assert row["attempts"] >= 3


async def test_each_attempt_has_its_own_id_and_the_alert_keeps_its_own(house: House, receiver: Receiver) -> None:
    await house.endpoint(receiver.url)
    receiver.status = lambda count: 503 if count == 1 else 200
    async with house.delivering():
        await house.take(an_infringement("use-1"))
        await until(lambda: len(receiver.received) == 2)
    first, second = (headers for headers, _ in receiver.received)
    assert first["webhook-id"] == second["webhook-id"]
    assert first["twintally-delivery-id"] != second["twintally-delivery-id"]
    assert receiver.received[0][1] == receiver.received[1][1]


async def test_after_the_last_attempt_it_is_given_up_and_shown(house: House, receiver: Receiver) -> None:
    await house.endpoint(receiver.url)
    receiver.status = lambda _: 404
    async with house.delivering(pauses_s=(0.05,)):
        await house.take(an_infringement("use-1"))
        await until(lambda: house.are("gave_up"))
    shown = (await house.ask("GET", "/v1/cases/use-1")).json()["alerts"][0]["deliveries"][0]
    assert (shown["status"], shown["attempts"], shown["last_status"]) == ("gave_up", 2, 404)
    assert shown["last_reason"] == "the endpoint answered 404"


async def test_410_disables_the_endpoint_and_cancels_what_waits(house: House, receiver: Receiver) -> None:
    await house.endpoint(receiver.url)
    receiver.status = lambda _: 410
    await house.take(an_infringement("use-1", 1), an_infringement("use-1", 2, verdict="out_of_scope"))
    async with house.delivering():
        await until(lambda: house.are("failed", "cancelled"))
        await house.take(an_infringement("use-2"))
        await asyncio.sleep(0.3)
    (endpoint,) = (await house.ask("GET", "/v1/endpoints")).json()
    assert (endpoint["status"], endpoint["disabled_because"]) == ("disabled", "the endpoint answered 410 Gone")
    assert len(receiver.received) == 1


async def test_an_address_that_is_not_allowed_fails_for_good_with_its_reason(house: House) -> None:
    caller = Caller("key", "agency", "agency-1", livemode=True)
    await house.endpoints.add(caller, url="http://10.0.0.1/", secret="whsec_" + "QUJD" * 8, now=NOON)
    await house.take(an_infringement("use-1"))
    async with house.delivering():
        await until(lambda: house.are("failed"))
    (row,) = await house.deliveries()
    assert row["attempts"] == 1
    assert "not a public address" in row["last_reason"]


async def test_a_rotated_secret_goes_on_signing_until_its_overlap_ends(house: House, receiver: Receiver) -> None:
    made = await house.endpoint(receiver.url)
    rotated = (await house.ask("POST", f"/v1/endpoints/{made['endpoint_id']}/rotate")).json()
    async with house.delivering():
        await house.take(an_infringement("use-1"))
        await until(lambda: receiver.received)
    assert len(receiver.told(made["secret"])) == len(receiver.told(rotated["secret"])) == 1
    receiver.received.clear()
    async with house.worker.transaction() as connection:
        await connection.execute("update endpoint_secrets set expires_at = now() where expires_at is not null")
    async with house.delivering():
        await house.take(an_infringement("use-2"))
        await until(lambda: receiver.received)
    assert len(receiver.told(rotated["secret"])) == 1
    with pytest.raises(WebhookVerificationError):
        receiver.told(made["secret"])


async def test_secrets_are_encrypted_at_rest_and_shown_once(house: House, receiver: Receiver) -> None:
    made = await house.endpoint(receiver.url)
    assert made["secret"].startswith("whsec_")
    (listed,) = (await house.ask("GET", "/v1/endpoints")).json()
    assert listed["secret"] is None
    async with house.worker.transaction() as connection:
        (row,) = await every(connection, "select secret from endpoint_secrets")
    assert made["secret"].encode() not in bytes(row["secret"])


async def test_two_loops_at_once_never_send_one_alert_twice(house: House, receiver: Receiver) -> None:
    secret = (await house.endpoint(receiver.url))["secret"]
    receiver.pause_s = 0.02
    async with house.delivering(loops=3):
        await house.take(*(an_infringement(f"use-{number}") for number in range(60)))
        await until(lambda: len(receiver.received) >= 60)
        await asyncio.sleep(0.5)
    assert sorted(payload["data"]["use_id"] for payload in receiver.told(secret)) == sorted(
        f"use-{number}" for number in range(60)
    )
    assert set(await house.statuses()) == {"delivered"}
    assert receiver.under_way_max <= 4


async def test_a_slow_endpoint_does_not_hold_up_another_agency(house: House, receiver: Receiver) -> None:
    await house.endpoint(receiver.url)
    await house.endpoint(receiver.url, "agency:agency-2")
    receiver.pause_s = 1.0
    async with house.delivering():
        await house.take(*(an_infringement(f"use-{number}") for number in range(8)))
        await until(lambda: len(receiver.received) == 4)
        await house.take(an_infringement("use-of-2", agency_id="agency-2"))
        await until(lambda: any(b"use-of-2" in body for _, body in receiver.received), within_s=0.9)


async def test_a_worker_that_died_in_an_attempt_costs_a_repeat_never_a_loss(house: House, receiver: Receiver) -> None:
    await house.endpoint(receiver.url)
    await house.take(an_infringement("use-1"))
    queue = house.queue(lease_s=0.2)
    (died,) = await queue.claim(10)
    assert await queue.claim(10) == []
    await asyncio.sleep(0.25)
    (again,) = await queue.claim(10)
    assert (again.event_id, again.number) == (died.event_id, 2)
    # The first comes back late: its failure says nothing any more, its success does.
    await queue.finish(died, TryAgain(timedelta(hours=1), "late", None))
    assert (await house.deliveries())[0]["last_reason"] is None
    await queue.finish(died, Delivered(200))
    await queue.finish(again, TryAgain(timedelta(hours=1), "late", None))
    assert await house.statuses() == ["delivered"]


async def test_an_expired_lease_and_a_late_success_do_not_send_again(house: House, receiver: Receiver) -> None:
    await house.endpoint(receiver.url)
    await house.take(an_infringement("use-1"))
    queue = house.queue(lease_s=0.0)
    (first,) = await queue.claim(10)
    await queue.finish(first, Delivered(200))
    assert await queue.claim(10) == []


async def test_a_claim_passes_over_what_is_in_other_hands_and_waits_for_nobody(
    house: House, receiver: Receiver
) -> None:
    await house.endpoint(receiver.url)
    await house.take(an_infringement("use-1"), an_infringement("use-2"))
    held, free = await house.deliveries()
    async with house.worker.transaction() as connection, asyncio.timeout(5):
        await connection.execute("select from deliveries where delivery_id = %s for update", (held["delivery_id"],))
        assert [attempt.delivery_id for attempt in await house.queue().claim(10)] == [free["delivery_id"]]
    assert [attempt.delivery_id for attempt in await house.queue().claim(10)] == [held["delivery_id"]]


async def test_a_tombstone_leaves_the_case_as_it_is(house: House) -> None:
    await house.take(an_infringement("use-1"))
    await house.infringements.handle([Record("infringements.v1", 0, 9, b"use-1", None)])
    told = await house.ask("GET", "/v1/cases/use-1")
    assert told.json()["status"] == "open"
