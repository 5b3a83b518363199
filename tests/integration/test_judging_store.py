"""What judging publishes when its knowledge changes, on real PostgreSQL."""

import json
from collections.abc import AsyncIterator

import httpx2
import pytest

from services.judging import handlers
from services.judging.api import build_app
from services.judging.views import UseViews
from services.judging.worker import SightingsWorker
from shared.access import Caller
from shared.database import Database, every, one
from shared.events import Reading
from shared.kafka import Record
from tests.builders import NOON, ONE_DAY, ONE_HOUR, a_version_seen
from tests.conftest import Parts
from tests.judging_house import House, KeptLetters, Names, a_house, a_record

USAGE, INFRINGEMENTS = "usage.v1", "infringements.v1"


@pytest.fixture
async def house(stack: Parts) -> AsyncIterator[House]:
    async with a_house(stack) as house:
        yield house


@pytest.fixture
def names() -> Names:
    return Names()


async def test_a_license_that_arrives_late_turns_an_infringement_into_usage(house: House, names: Names) -> None:
    await house.know(names.consent(), names.brand("acme"), names.twin_state())
    await house.see(names.seen())
    assert await house.statuses(names) == {INFRINGEMENTS: "open"}
    await house.know(names.license())
    await house.settle()
    assert await house.statuses(names) == {INFRINGEMENTS: "open withdrawn", USAGE: "active"}


async def test_a_consent_withdrawn_before_the_start_voids_the_usage(house: House, names: Names) -> None:
    await house.know(names.license(), names.consent(), names.brand("acme"), names.twin_state())
    await house.see(names.seen())
    await house.know(names.consent(revision=2, withdrawn_at=NOON - ONE_HOUR))
    await house.settle()
    assert await house.statuses(names) == {USAGE: "active void", INFRINGEMENTS: "open"}


async def test_a_consent_withdrawn_later_changes_nothing(house: House, names: Names) -> None:
    await house.know(names.license(), names.consent(), names.brand("acme"), names.twin_state())
    await house.see(names.seen())
    await house.know(names.consent(revision=2, withdrawn_at=NOON + ONE_HOUR))
    await house.settle()
    assert await house.statuses(names) == {USAGE: "active"}


async def test_a_brands_account_added_later_makes_its_uses_licensed(house: House, names: Names) -> None:
    await house.know(names.license(), names.consent(), names.brand(), names.twin_state())
    await house.see(names.seen())
    await house.know(names.brand("acme", revision=2))
    await house.settle()
    assert await house.statuses(names) == {INFRINGEMENTS: "open withdrawn", USAGE: "active"}


async def test_an_account_that_leaves_its_brand_takes_the_license_along(house: House, names: Names) -> None:
    await house.know(names.license(), names.consent(), names.brand("acme"), names.twin_state())
    await house.see(names.seen())
    await house.know(names.brand(revision=2))
    await house.settle()
    assert await house.statuses(names) == {USAGE: "active void", INFRINGEMENTS: "open"}


async def test_a_partner_account_counts_among_the_accounts_that_a_brand_change_concerns(
    house: House, names: Names
) -> None:
    partner = a_version_seen(partner_accounts=(names.account("partner"),), paid_partnership=True)
    await house.know(names.license(), names.consent(), names.twin_state())
    await house.see(names.seen(versions=(partner,)))
    await house.know(names.brand("partner"))
    await house.settle()
    assert await house.statuses(names) == {INFRINGEMENTS: "open withdrawn", USAGE: "active"}


async def test_an_edit_that_ends_a_use_keeps_it_billed(house: House, names: Names) -> None:
    await house.know(names.license(), names.consent(), names.brand("acme"), names.twin_state())
    await house.see(names.seen())
    reading = Reading(measured_at=NOON + ONE_HOUR, impressions=7)
    await house.see(names.seen(revision=2, ended_at=NOON + ONE_DAY, readings=(reading,)))
    [usage] = (await house.published(names)).values()
    assert usage["data"]["status"] == "active"
    assert usage["data"]["ended_at"] == "2026-11-03T12:00:00Z"
    assert usage["data"]["readings"][0]["impressions"] == 7


async def test_a_repeated_or_overtaken_sighting_publishes_nothing(house: House, names: Names) -> None:
    await house.know(names.license(), names.consent(), names.brand("acme"), names.twin_state())
    assert len(await house.see(names.seen(revision=2), names.seen(revision=1), names.seen(revision=2))) == 1
    assert await house.see(names.seen(revision=1)) == []
    assert await house.see(names.seen(revision=2)) == []
    assert await house.statuses(names) == {USAGE: "active"}


async def test_an_accusation_waits_and_is_told_once_fresh(house: House, names: Names) -> None:
    await house.know(names.twin_state())
    house.fresh = False
    await house.see(names.seen())
    await house.settle()
    assert await house.statuses(names) == {}
    house.fresh = True
    await house.settle()
    assert await house.statuses(names) == {INFRINGEMENTS: "open"}


async def test_what_waited_is_judged_by_what_is_known_when_fresh(house: House, names: Names) -> None:
    house.fresh = False
    await house.see(names.seen())
    await house.know(names.license(), names.consent(), names.brand("acme"), names.twin_state())
    house.fresh = True
    await house.settle()
    assert await house.statuses(names) == {USAGE: "active"}


async def test_a_use_of_an_unknown_twin_is_told_when_its_twin_is_learnt(house: House, names: Names) -> None:
    await house.see(names.seen())
    await house.settle()
    assert await house.statuses(names) == {}
    await house.know(names.twin_state())
    await house.settle()
    assert await house.statuses(names) == {INFRINGEMENTS: "open"}


async def unreadable(house: House) -> tuple[str, ...]:
    return (await house.store.backlog()).unreadable


def broken(names: Names, offset: int) -> Record:
    return Record("licenses.v1", 0, offset, names.license_9.encode(), b"{")


async def test_a_lookup_record_that_cannot_be_read_stops_all_accusations_until_repaired(
    house: House, names: Names
) -> None:
    await house.know(names.twin_state())
    await house.learn([broken(names, 5)])
    assert await unreadable(house) == (f"licenses.v1 {names.license_9}",)
    assert broken(names, 5) in house.letters.kept
    await house.see(names.seen())
    await house.settle()
    assert await house.statuses(names) == {}
    older = a_record(names.license(license_id=names.license_9, twin_id="other"), 4)
    await house.learn([older])
    assert await unreadable(house) != ()
    newer = a_record(names.license(license_id=names.license_9, twin_id="other", revision=2), 6)
    await house.learn([newer])
    assert await unreadable(house) == ()
    await house.settle()
    assert await house.statuses(names) == {INFRINGEMENTS: "open"}


async def test_a_readable_record_behind_a_broken_one_in_the_same_batch_repairs_it(house: House, names: Names) -> None:
    good = names.license(license_id=names.license_9, twin_id="other")
    await house.learn([broken(names, 5), a_record(good, 6)])
    assert await unreadable(house) == ()
    await house.learn([a_record(good, 7), broken(names, 8)])
    assert await unreadable(house) != ()
    await house.learn([a_record(good, 9)])
    assert await unreadable(house) == ()


async def test_a_broken_record_that_came_back_readable_stops_nobody_and_stays_settled(
    house: House, names: Names
) -> None:
    await house.learn([broken(names, 5)])
    good = names.license(license_id=names.license_9, twin_id="other")
    await house.lookups.learn([a_record(good, 5)])
    assert await unreadable(house) == ()
    # In its topic it lies as it was, and is met again at every start.
    await house.learn([broken(names, 5)])
    assert await unreadable(house) == ()
    await house.learn([broken(names, 7)])
    assert await unreadable(house) != ()
    await house.learn([a_record(good, 8)])


async def test_a_lookup_record_that_fails_for_its_own_reason_stops_all_accusations_and_the_others_are_learnt(
    house: House, names: Names
) -> None:
    poison = a_record(names.brand("no\0text"), 5)
    await house.learn([a_record(names.license()), poison, a_record(names.consent())])
    assert await unreadable(house) == (f"parties.v1 brand:{names.brand_1}",)
    assert poison in house.letters.kept
    async with house.database.transaction() as connection:
        known = await every(connection, "select topic from lookups where message_key like %s", (f"{names.prefix}%",))
    assert {row["topic"] for row in known} == {"licenses.v1", "consents.v1"}
    await house.learn([a_record(names.brand("text", revision=2), 6)])
    assert await unreadable(house) == ()


async def test_a_lookup_record_under_a_key_that_no_column_takes_stops_all_accusations(
    house: House, names: Names
) -> None:
    key = names.license_9.encode() + b"\x00" + b"k" * 5_000
    await house.learn([Record("licenses.v1", 0, 5, key, b"{")])
    [told] = await unreadable(house)
    assert told.startswith(f"licenses.v1 {names.license_9}\\x00kkk")
    async with house.database.transaction() as connection:
        await connection.execute("delete from unreadable_lookups where message_key like %s", (f"{names.prefix}%",))


async def test_a_tombstone_is_readable_and_says_nothing_new(house: House, names: Names) -> None:
    await house.know(names.license(), names.consent(), names.brand("acme"), names.twin_state())
    await house.see(names.seen())
    await house.learn([Record("licenses.v1", 0, 9, names.license_1.encode(), None)])
    await house.settle()
    assert await unreadable(house) == ()
    assert await house.statuses(names) == {USAGE: "active"}


async def test_a_watermark_that_cannot_be_read_is_passed_over(house: House) -> None:
    poison = Record("clock.v1", 0, 1, b"registry", b"{")
    await house.learn([poison])
    assert await unreadable(house) == ()
    assert poison in house.letters.kept


async def test_a_use_that_cannot_be_judged_again_does_not_stop_the_others(
    house: House, names: Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    await house.know(names.consent(), names.brand("acme"), names.twin_state())
    await house.see(names.seen("use1"), names.seen("use2"))
    conclude = handlers.conclude

    def fails_for_one(held, knowledge, *, fresh):
        if held.seen.use_id == names.use1:
            raise ArithmeticError("a bug")
        return conclude(held, knowledge, fresh=fresh)

    monkeypatch.setattr(handlers, "conclude", fails_for_one)
    await house.know(names.license())
    await house.settle()
    assert "usage.v1 -use2" in await house.published(names)
    async with house.database.transaction() as connection:
        [waiting] = await every(connection, "select * from to_judge where use_id like %s", (f"{names.prefix}%",))
        await connection.execute("update to_judge set not_before = now() where use_id = %s", (names.use1,))
    assert (waiting["use_id"], waiting["attempts"]) == (names.use1, 1)
    monkeypatch.undo()
    await house.settle()
    assert set(await house.published(names)) == {"usage.v1 -use1", "usage.v1 -use2"}


async def test_what_is_judged_again_in_bulk_is_told_behind_live_ones(house: House, names: Names) -> None:
    uses = [names.seen(f"use{number}") for number in range(4)]
    await house.know(names.consent(), names.brand("acme"), names.twin_state())
    await house.see(*uses)
    await house.know(names.license())
    await house.settle()
    async with house.database.transaction() as connection:
        rows = await every(
            connection, "select topic, bulk from outbox where message_key like %s", (f"{names.prefix}%",)
        )
    assert {(row["topic"], row["bulk"]) for row in rows} == {
        (INFRINGEMENTS, False),
        (INFRINGEMENTS, True),
        (USAGE, True),
    }


async def test_a_backfilled_use_is_told_behind_live_ones(house: House, names: Names) -> None:
    await house.know(names.twin_state())
    await house.see(names.seen(backfill=True))
    async with house.database.transaction() as connection:
        row = await one(connection, "select bulk from outbox where message_key = %s", (names.use1,))
    assert row == {"bulk": True}


class Keys:
    """Callers by their key."""

    def __init__(self, callers: dict[str, Caller]) -> None:
        self._callers = callers

    async def caller_of(self, api_key: str) -> Caller | None:
        return self._callers.get(api_key)


@pytest.fixture
async def pages(stack: Parts, names: Names) -> AsyncIterator[httpx2.AsyncClient]:
    callers = {
        "agency": Caller("k1", "agency", names.agency, True),
        "other-agency": Caller("k2", "agency", "other", True),
        "talent": Caller("k3", "talent", names.talent, True),
        "brand": Caller("k4", "brand", names.brand_1, True),
        "operator": Caller("k5", "operator", None, True),
        "sandbox": Caller("k6", "agency", names.agency, False),
        "finance": Caller("k7", "finance", None, True),
    }
    database = Database(stack.database_for("judging_api"), "judging")
    await database.open()
    app = build_app(UseViews(database), Keys(callers), problem=lambda: "licenses.v1 lic-9 is unreadable")
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="http://judging") as client:
        yield client
    await database.close()


async def get(pages: httpx2.AsyncClient, caller: str, path: str, **query: str) -> httpx2.Response:
    return await pages.get(path, params=query, headers={"Authorization": f"Bearer {caller}"})


async def test_each_caller_sees_its_own_uses_and_a_foreign_one_is_not_there(
    house: House, names: Names, pages: httpx2.AsyncClient
) -> None:
    await house.know(names.license(), names.consent(), names.brand("acme"), names.twin_state())
    await house.see(names.seen())
    for caller in ("agency", "talent", "brand", "operator"):
        found = await get(pages, caller, f"/v1/uses/{names.use1}")
        assert found.status_code == 200, found.text
        assert found.json()["verdict"] == "licensed"
        [listed] = (await get(pages, caller, "/v1/uses", twin_id=names.twin)).json()
        assert listed["use_id"] == names.use1
    for caller in ("other-agency", "sandbox"):
        assert (await get(pages, caller, f"/v1/uses/{names.use1}")).status_code == 404
        assert (await get(pages, caller, "/v1/uses", twin_id=names.twin)).json() == []
    assert (await get(pages, "finance", "/v1/uses")).status_code == 403
    assert (await get(pages, "nobody", "/v1/uses")).status_code == 401


async def test_the_uses_of_a_post_are_found_by_its_name_with_what_stands_published(
    house: House, names: Names, pages: httpx2.AsyncClient
) -> None:
    seen = names.seen()
    await house.know(names.license(), names.consent(), names.brand("acme"), names.twin_state())
    await house.see(seen)
    named = f"{seen.platform}:{seen.post_id}"
    listed = (await get(pages, "operator", "/v1/uses", post=named)).json()
    assert names.use1 in [use["use_id"] for use in listed]
    assert {(use["platform"], use["post_id"]) for use in listed} == {(seen.platform, seen.post_id)}
    assert (await get(pages, "operator", "/v1/uses", post=f"{named}-x")).json() == []
    assert (await get(pages, "other-agency", "/v1/uses", post=named)).json() == []
    assert (await get(pages, "operator", "/v1/uses", post="no-colon")).status_code == 422
    use = (await get(pages, "operator", f"/v1/uses/{names.use1}")).json()
    assert (use["seen_revision"], use["usage"], use["infringement"]) == (seen.revision, "active", None)


async def test_both_as_judged_then_and_as_known_now_are_told(
    house: House, names: Names, pages: httpx2.AsyncClient
) -> None:
    await house.know(names.consent(), names.brand("acme"), names.twin_state())
    await house.see(names.seen())
    await house.know(names.license())
    await house.settle()
    use = (await get(pages, "agency", f"/v1/uses/{names.use1}")).json()
    assert (use["verdict"], use["reasons"]) == ("licensed", [])
    assert [(then["verdict"], [reason["dimension"] for reason in then["reasons"]]) for then in use["history"]] == [
        ("unlicensed", ["license"]),
        ("licensed", []),
    ]
    assert f"licenses.v1 {names.license_1}" not in use["history"][0]["known"]
    assert use["history"][1]["known"][f"licenses.v1 {names.license_1}"] == 1


async def test_a_withheld_accusation_is_shown_to_nobody(house: House, names: Names, pages: httpx2.AsyncClient) -> None:
    await house.know(names.twin_state())
    house.fresh = False
    await house.see(names.seen())
    use = (await get(pages, "agency", f"/v1/uses/{names.use1}")).json()
    assert (use["verdict"], use["reasons"], use["awaiting_fresh"], use["history"]) == (None, [], True, [])
    assert (await get(pages, "agency", "/v1/uses", verdict="unlicensed", twin_id=names.twin)).json() == []
    house.fresh = True
    await house.settle()


async def test_uses_come_in_pages(house: House, names: Names, pages: httpx2.AsyncClient) -> None:
    await house.know(names.twin_state())
    await house.see(*[names.seen(f"use{number}") for number in range(5)])
    first = (await get(pages, "agency", "/v1/uses", limit="3")).json()
    rest = (await get(pages, "agency", "/v1/uses", limit="3", after=first[-1]["use_id"])).json()
    assert [use["use_id"] for use in first + rest] == [f"{names.prefix}-use{number}" for number in range(5)]
    assert len((await get(pages, "agency", "/v1/uses", verdict="licensed")).json()) == 0


async def test_a_wrong_verdict_is_refused_by_its_field(pages: httpx2.AsyncClient) -> None:
    refused = await get(pages, "agency", "/v1/uses", verdict="guilty")
    assert refused.status_code == 422
    assert refused.json()["detail"][0]["loc"] == ["query", "verdict"]


async def test_the_operator_drops_an_unreadable_record_and_it_stays_dropped(
    house: House, names: Names, pages: httpx2.AsyncClient
) -> None:
    await house.learn([broken(names, 5)])
    told = (await get(pages, "operator", "/v1/freshness")).json()
    assert (told["fresh"], told["unreadable_lookups"][0]["message_key"]) == (False, names.license_9)
    assert "lic-9" not in json.dumps((await get(pages, "agency", "/v1/freshness")).json())
    named = {"topic": "licenses.v1", "message_key": names.license_9}
    drop = "/v1/unreadable-lookups/drop"
    assert (await pages.post(drop, json=named, headers={"Authorization": "Bearer agency"})).status_code == 403
    elsewhere = {**named, "offset": 4}
    assert (await pages.post(drop, json=elsewhere, headers={"Authorization": "Bearer operator"})).status_code == 404
    named = {**named, "offset": 5}
    assert (await pages.post(drop, json=named, headers={"Authorization": "Bearer operator"})).status_code == 204
    assert (await pages.post(drop, json=named, headers={"Authorization": "Bearer operator"})).status_code == 404
    await house.learn([broken(names, 5)])
    assert await unreadable(house) == ()
    await house.learn([broken(names, 7)])
    assert await unreadable(house) != ()
    await house.learn([a_record(names.license(license_id=names.license_9, twin_id="other"), 8)])


async def test_a_tombstone_of_a_use_leaves_its_verdict_and_stops_nobody(house: House, names: Names) -> None:
    await house.know(names.license(), names.consent(), names.brand("acme"), names.twin_state())
    letters = KeptLetters()
    worker = SightingsWorker(house.store, house.is_fresh, letters, judged=lambda: None)
    tombstone = Record("sightings.v1", 0, 1, names.use1.encode(), None)
    await worker.handle_batch([a_record(names.seen()), tombstone, a_record(names.seen("use2"), 2)])
    assert letters.kept == []
    assert list(await house.published(names)) == ["usage.v1 -use1", "usage.v1 -use2"]


@pytest.mark.parametrize(("path", "query"), [("/%00", {}), ("", {"twin_id": "\0"}), ("", {"after": "\0"})])
async def test_a_name_that_no_database_takes_is_refused_by_field(
    pages: httpx2.AsyncClient, path: str, query: dict[str, str]
) -> None:
    answer = await get(pages, "agency", f"/v1/uses{path}", **query)
    assert answer.status_code == 422, answer.text
    assert answer.json()["detail"][0]["loc"][-1] in ("use_id", "twin_id", "after")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{", 400),
        (b"\xff\xfe", 400),
        (b'{"topic": "licenses.v1", "message_key": "a\\u0000"}', 422),
        (b'{"topic": "\\ud800", "message_key": "a"}', 422),
        (b'{"topic": "licenses.v1", "message_key": "a", "offset": 99999999999999999999}', 422),
    ],
)
async def test_a_record_that_cannot_be_named_so_is_refused_without_a_fault(
    pages: httpx2.AsyncClient, body: bytes, status: int
) -> None:
    headers = {"Authorization": "Bearer operator", "Content-Type": "application/json"}
    answer = await pages.post("/v1/unreadable-lookups/drop", content=body, headers=headers)
    assert answer.status_code == status, answer.text
    assert answer.json()["detail"]
