"""Poison in every topic: nothing else is lost, and `twintally dlq` works it through the real services."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from infra.dlq.cli import app
from infra.kafka.layout import read_layout
from shared.events import MediaItem, UsageState
from shared.ids import digest_of
from shared.kafka import Record
from shared.kafka.deadletters import letter_id, unpacked
from shared.objects import Uploads, open_store
from tests.builders import (
    a_brand,
    a_card,
    a_consent,
    a_license,
    a_post,
    a_published,
    a_reference,
    a_split,
    a_use_seen,
    a_version,
    a_version_seen,
    an_infringement,
)
from tests.poison_house import CONSUMERS, READERS, House, a_poison_house, good, poison, until, wrong_schema
from tests.replays import a_bug, alerts_of, fingerprint_of, give_endpoint, given_up, replayed, states_of, told_once
from tests.streams import read_all
from tests.system.pictures import draw, jpeg

# The first test waits for a stack with five services, which takes its time on a busy machine.
pytestmark = pytest.mark.timeout(240)

WORKED = {
    "posts.v1": "select post_id as name from matching.facts",
    "sightings.v1": "select use_id as name from judging.uses where verdict is not null",
    "infringements.v1": "select use_id as name from alerts.cases",
    "usage.v1": "select use_id as name from royalty.transactions",
    "references.v1": "select reference_id as name from matching.reference_owners",
}


@pytest.fixture(scope="module")
async def house(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    async with a_poison_house(tmp_path_factory.mktemp("poison")) as found:
        yield found


def test_each_topic_that_a_service_of_ours_reads_is_poisoned_below() -> None:
    layout = read_layout().topics
    ours = {name: set(topic.consumers) - {"finance"} for name, topic in layout.items()}
    assert {name: set(readers) for name, readers in ours.items() if readers} == {
        name: {consumer.partition(".")[0] for consumer in consumers} for name, consumers in CONSUMERS.items()
    }


@pytest.fixture(scope="module")
async def fed(house: House) -> dict[str, dict[str, Record]]:
    """By topic and kind: every kind of poison between two good records of the same partition."""
    found: dict[str, dict[str, Record]] = {}
    for topic in CONSUMERS:
        await house.tell(good(topic, f"{house.prefix}-first"))
        sent = {kind: await house.send(topic, *each) for kind, each in poison(topic, house.prefix).items()}
        await house.tell(good(topic, f"{house.prefix}-last"))
        found[topic] = sent
    return found


@pytest.mark.parametrize("topic", CONSUMERS)
async def test_poison_of_every_kind_is_in_the_dead_letters_and_the_records_around_it_are_worked(
    house: House, fed: dict[str, dict[str, Record]], topic: str
) -> None:
    await until(lambda: both_are_worked(house, topic))
    for consumer in CONSUMERS[topic]:
        for record in fed[topic].values():
            assert (await house.letter_of(record, consumer))["state"] == "unresolved"
    lying = {
        letter_id(letter.headers["consumer"].decode(), *place_in(letter)): letter
        for letter in await read_all(house.kafka, f"{topic}.dlq")
        if "source" in letter.headers
    }
    for consumer in CONSUMERS[topic]:
        for kind, record in fed[topic].items():
            letter = lying[letter_id(consumer, topic, record.partition, record.offset)]
            assert unpacked(letter.value, letter.headers) == record.value, (consumer, kind)
            assert letter.key == record.key
            # What cannot be read is given up at once; what fails otherwise is tried three times.
            fails_otherwise = not letter.headers["error"].startswith(b"Unreadable: ")
            assert (fails_otherwise, letter.headers["attempts"]) == ((True, b"3") if kind == "fault" else (False, b"1"))


async def both_are_worked(house: House, topic: str) -> bool:
    wanted = {f"{house.prefix}-first", f"{house.prefix}-last"}
    if topic == "access.v1":
        return all([await house.knows(service, name) for service in READERS for name in wanted])
    if topic == "clock.v1":
        # Nobody keeps a watermark: the reader has gone past it.
        return (await house.ask("judging", "GET", "/health/ready")).json()["lookups"] == "ok"
    query = WORKED.get(topic, f"select message_key as name from judging.lookups where topic = '{topic}'")
    names = {row["name"].removeprefix("brand:") for row in await house.rows(query)}
    return wanted <= names


def place_in(letter: Record) -> tuple[str, int, int]:
    topic, partition, offset = letter.headers["source"].decode().split("/")
    return topic, int(partition), int(offset)


async def test_each_service_counts_its_dead_letters_by_consumer(house: House, fed: dict[str, Any]) -> None:
    for topic, consumers in CONSUMERS.items():
        for consumer in consumers:
            service = consumer.partition(".")[0]
            page = (await house.ask(service, "GET", "/metrics")).text
            line = next(each for each in page.splitlines() if f'dead_letters_total{{consumer="{consumer}"}}' in each)
            assert float(line.split()[-1]) >= len(fed[topic])


async def ledger_of(house: House, use_id: str) -> list[tuple[str, int]]:
    """What is booked of a use, with its own name left out."""
    rows = await house.rows(
        "select line, ledger_account, minor from royalty.entries join royalty.transactions using (transaction_id)"
        " where use_id = %s order by line, ledger_account",
        use_id,
    )
    return [(f"{row['line']} {row['ledger_account'].replace(use_id, 'NAME')}", row["minor"]) for row in rows]


async def test_a_usage_that_is_replayed_after_the_fix_ends_as_if_it_had_never_failed(house: House) -> None:
    name = f"{house.prefix}-bug"
    broken = "alter table royalty.entries add constraint a_bug check (minor <> 77777) not valid"
    await house.rows(broken)
    usage = good("usage.v1", name).model_copy(update={"rate_card": a_card(77_777)})
    [record] = await house.tell(usage)
    letter = await house.letter_of(record, "royalty")
    refused = await house.dlq("replay", letter["id"], code=1)
    assert "fails again: CheckViolation" in refused.stderr
    assert (await house.letter_of(record, "royalty"))["state"] == "unresolved"

    await house.rows("alter table royalty.entries drop constraint a_bug")
    offsets = await house.rows("select * from royalty.offsets order by partition")
    assert "worked" in (await house.dlq("replay", letter["id"][:8])).stdout
    control = usage.model_copy(update={"use_id": f"{name}-control"})
    await house.tell(control)
    await until(lambda: ledger_of(house, f"{name}-control"))
    booked = await ledger_of(house, name)
    assert [minor for _, minor in booked] == [minor for _, minor in await ledger_of(house, f"{name}-control")]
    assert sum(minor for _, minor in booked) == 0
    moved = await house.rows("select * from royalty.offsets order by partition")
    assert [row["next_offset"] for row in moved[1:]] == [row["next_offset"] for row in offsets[1:]]
    assert moved[0]["next_offset"] == offsets[0]["next_offset"] + 1  # the control's

    # Once more, and its like once more from the stream: nothing changes.
    await house.dlq("replay", letter["id"])
    assert await ledger_of(house, name) == booked
    assert (await house.letter_of(record, "royalty"))["state"] == "replayed"
    assert letter["id"] not in {each["id"] for each in await house.letters("--topic", "usage.v1")}


async def test_a_post_that_is_replayed_after_the_fix_ends_as_if_it_had_never_failed(house: House) -> None:
    name, image = f"{house.prefix}-post-bug", jpeg(draw(11))
    sha256 = digest_of(image).removeprefix("sha256:")
    await Uploads(open_store(house.stack.env_for("matching")["TWINTALLY_STORE"])).keep("instagram", sha256, image)
    await house.tell(a_reference(reference_id=name, twin_id=f"twin-{name}", fingerprint=fingerprint_of(image)))
    await until(lambda: house.rows("select 1 from matching.reference_owners where reference_id = %s", name))
    content = a_post(media=(MediaItem(upload_sha256=sha256),))
    post, control = (a_published(post_id=each, post=content) for each in (name, f"{name}-control"))
    async with a_bug(house, "matching.facts", f"post_id <> '{name}'"):
        letter = await given_up(house, post, "matching")
    await replayed(house, letter)

    await house.tell(control)
    await until(lambda: states_of(house, "sightings.v1", control.post_id))
    [fact] = await house.rows("select event_id, value from matching.facts where post_id = %s", name)
    assert (str(fact["event_id"]), bytes(fact["value"])) == (str(post.event_id()), post.encode())
    assert await told_once(house, post)
    [seen] = await states_of(house, "sightings.v1", name)
    assert [seen] == await states_of(house, "sightings.v1", control.post_id)
    assert seen["versions"][0]["sightings"][0]["reference_id"] == name
    # Once more: nothing changes.
    await replayed(house, letter)
    assert await states_of(house, "sightings.v1", name) == [seen]


async def test_a_sighting_that_is_replayed_after_the_fix_is_judged_and_billed_as_if_it_had_never_failed(
    house: House,
) -> None:
    name, twin = f"{house.prefix}-seen-bug", f"{house.prefix}-seen"
    terms = a_version(split=a_split(twin, twin))
    lookups = await house.tell(
        a_license(license_id=twin, twin_id=twin, talent_id=twin, brand_id=twin, versions=(terms,)),
        a_brand(party_id=twin, accounts=({"platform": "instagram", "account": twin},)),
        a_consent(consent_id=twin, twin_id=twin, talent_id=twin),
    )
    keys = [record.key.decode() for record in lookups if record.key]
    learnt = "select 1 from judging.lookups where message_key = any(%s) having count(*) = 3"
    await until(lambda: house.rows(learnt, keys))
    shown = (a_version_seen(account=twin),)
    use, control = (
        a_use_seen(use_id=each, post_id=each, twin_id=twin, versions=shown) for each in (name, f"{name}-control")
    )
    async with a_bug(house, "judging.uses", f"use_id <> '{name}'"):
        letter = await given_up(house, use, "judging")
    await replayed(house, letter)

    await house.tell(control)
    await until(lambda: ledger_of(house, control.use_id))
    await until(lambda: ledger_of(house, name))
    assert await told_once(house, use)
    [usage] = await states_of(house, "usage.v1", name)
    assert [usage] == await states_of(house, "usage.v1", control.post_id)
    booked = await ledger_of(house, name)
    assert booked == await ledger_of(house, control.use_id)
    assert len(booked) == 3
    await replayed(house, letter)
    assert len(await house.rows("select 1 from judging.verdict_history where use_id = %s", name)) == 1


async def test_an_infringement_that_is_replayed_after_the_fix_is_told_as_if_it_had_never_failed(house: House) -> None:
    name = f"{house.prefix}-case-bug"
    await give_endpoint(house, name)
    case, control = (an_infringement(use_id=each, post_id=each, agency_id=name) for each in (name, f"{name}-control"))
    async with a_bug(house, "alerts.cases", f"use_id <> '{name}'"):
        letter = await given_up(house, case, "alerts")
    await replayed(house, letter)

    await house.tell(control)
    await until(lambda: alerts_of(house, control.use_id))
    assert await told_once(house, case)
    [alert] = await alerts_of(house, name)
    assert [alert] == await alerts_of(house, control.use_id)
    assert (alert["status"], alert["deliveries"]) == ("open", 1)
    await replayed(house, letter)
    assert await alerts_of(house, name) == [alert]


async def test_a_usage_is_replayed_with_repaired_bytes_that_tell_the_same_event(house: House, tmp_path: Path) -> None:
    name = f"{house.prefix}-repaired"
    usage = good("usage.v1", name)
    assert isinstance(usage, UsageState)
    record = await house.send("usage.v1", usage.message_key().encode(), wrong_schema(usage))
    letter = await house.letter_of(record, "royalty")
    repaired = tmp_path / "repaired.json"
    for other, reason in (({"use_id": "someone-else"}, "message key"), ({"revision": 2}, "event id")):
        repaired.write_bytes(usage.model_copy(update=other).encode())
        assert reason in (await house.dlq("replay", letter["id"], "--value", str(repaired), code=1)).stderr
    repaired.write_bytes(usage.encode())
    assert "worked" in (await house.dlq("replay", letter["id"], "--value", str(repaired))).stdout
    [booked] = await house.rows("select usage_revision from royalty.booked_uses where use_id = %s", name)
    assert booked["usage_revision"] == 1
    assert len(await ledger_of(house, name)) == 3


async def stopping(house: House) -> set[str]:
    told = (await house.ask("judging", "GET", "/v1/freshness")).json()
    return {each["message_key"] for each in told["unreadable_lookups"]}


async def test_a_broken_license_stops_accusations_until_it_is_repaired_or_dropped(house: House, tmp_path: Path) -> None:
    names = [f"{house.prefix}-repair", f"{house.prefix}-drop"]
    licenses = [a_license(license_id=name, twin_id=f"twin-{house.prefix}") for name in names]
    records = [await house.send("licenses.v1", each.license_id.encode(), wrong_schema(each)) for each in licenses]
    repair, drop = [await house.letter_of(record, "judging.lookups") for record in records]
    assert set(names) <= await stopping(house)

    repaired = tmp_path / "license.json"
    repaired.write_bytes(licenses[0].encode())
    await house.dlq("replay", repair["id"], "--value", str(repaired))
    assert await stopping(house) & set(names) == {names[1]}
    known = await house.rows("select state from judging.lookups where message_key = %s", names[0])
    assert known[0]["state"]["license_id"] == names[0]

    assert "accusations go on" in (await house.dlq("drop", drop["id"])).stdout
    assert not await stopping(house) & set(names)
    assert (await house.letter_of(records[1], "judging.lookups"))["state"] == "dropped"


async def test_a_service_that_would_forget_a_repair_at_its_next_start_refuses_it(house: House, tmp_path: Path) -> None:
    event = good("access.v1", f"{house.prefix}-forgotten")
    record = await house.send("access.v1", event.message_key().encode(), wrong_schema(event))
    letter = await house.letter_of(record, "intake.access")
    repaired = tmp_path / "key.json"
    repaired.write_bytes(event.encode())
    told = await house.dlq("replay", letter["id"], "--value", str(repaired), code=1)
    assert "have the owner of access.v1 publish the key again" in told.stderr


async def test_a_letter_is_shown_with_its_error_its_place_and_its_bytes(house: House, tmp_path: Path) -> None:
    usage = good("usage.v1", f"{house.prefix}-shown")
    record = await house.send("usage.v1", usage.message_key().encode(), wrong_schema(usage))
    letter = await house.letter_of(record, "royalty")
    raw = tmp_path / "raw"
    shown = (await house.dlq("show", letter["id"][:8], "--raw", str(raw))).stdout
    for told in (
        letter["id"],
        "royalty",
        f"usage.v1/0/{record.offset}",
        "Unreadable",
        "attempts: 1",
        '"strange": true',
    ):
        assert told in shown
    assert raw.read_bytes() == record.value
    listed = (await house.dlq("list", "--consumer", "royalty")).stdout
    assert letter["id"][:8] in listed
    assert "no dead letter" in (await house.dlq("show", "ffffffff-none", code=1)).stderr


async def test_without_an_address_the_local_stack_is_asked(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("infra.dlq.cli.env_of_running", house.stack.env_for)
    monkeypatch.delenv("TWINTALLY_KAFKA", raising=False)
    done = await asyncio.to_thread(CliRunner().invoke, app, ["list", "--all", "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout) == await house.letters("--all")


async def test_all_that_is_left_is_dropped_at_once_and_stops_nobody_any_more(house: House, fed: dict[str, Any]) -> None:
    left = await house.letters("--topic", "licenses.v1")
    assert len(left) >= len(fed["licenses.v1"])
    for topic in ("licenses.v1", "consents.v1", "parties.v1", "cases.v1", "allowances.v1", "clock.v1"):
        await house.dlq("drop", "--all", "--topic", topic, "--consumer", "judging")
        assert await house.letters("--topic", topic) == []
    assert not {key for key in await stopping(house) if house.prefix in key}
