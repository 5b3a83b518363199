"""The steps of a post through the services, told from what they answered: values in, values out."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from infra.trace.gathering import Gathered, Json
from shared.money import formatted

SERVICES = ("intake", "matching", "judging", "alerts", "royalty")
GONE_ON = {
    "undecodable": "is no picture that can be read",
    "unfetchable": "could not be fetched and is not tried again",
}


@dataclass(frozen=True)
class Step:
    """One thing that happened to the post; `at` in ISO 8601, None where nobody wrote it down."""

    service: str
    at: str | None
    text: str
    ids: Mapping[str, str] = field(default_factory=dict)


def steps_of(found: Gathered) -> list[Step]:
    """Every step, service by service in the order of the flow, each in the order of time."""
    steps = [*_in_intake(found), *_in_matching(found), *_in_judging(found), *_in_alerts(found), *_in_royalty(found)]
    # Sorting keeps the order of equals; what has no time stands where it was told, at the beginning.
    return sorted(steps, key=lambda step: (SERVICES.index(step.service), _moment(step.at)))


def clock(at: str) -> str:
    """A moment for people, in UTC."""
    return f"{_utc(at):%Y-%m-%d %H:%M:%S.%f}"[:-3]


def _moment(at: str | None) -> datetime:
    return datetime.min.replace(tzinfo=UTC) if at is None else _utc(at)


def _utc(at: str) -> datetime:
    return datetime.fromisoformat(at).astimezone(UTC)


def waits(item: Json) -> str:
    """Why a pending image waits, in words."""
    tries = item["attempts"]
    tried = "nobody has asked its host yet" if tries == 0 else f"could not be fetched {_times(tries)}"
    return f"{tried}: {item['reason']}; next try at {clock(item['next_try_at'])}"


def name_of_item(item: Json, version: Json) -> str:
    """An image for people."""
    return f"image {item['number'] + 1} of {len(version['media'])}"


def _in_intake(found: Gathered) -> Iterator[Step]:
    for fact in (found.matching or {}).get("facts", ()):
        accepted = (
            f"accepted not later than {clock(fact['stored_at'])}"
            if fact["stored_at"]
            else "accepted, nobody knows when"
        )
        notes = [name for name in ("backfill", "time_doubtful") if fact[name]]
        counted = f" {fact['impressions']} impressions" if fact["impressions"] is not None else ""
        text = f"{fact['kind']}{counted}, as the platform says; {accepted}" + "".join(f"; {note}" for note in notes)
        yield Step("intake", fact["occurred_at"], text, {"event": fact["event_id"]})


def _in_matching(found: Gathered) -> Iterator[Step]:
    matching = found.matching or {}
    for fact in matching.get("facts", ()):
        yield Step("matching", fact["stored_at"], f"fact stored: {fact['kind']}", {"event": fact["event_id"]})
    for version in matching.get("versions", ()):
        for item in version["media"]:
            yield _image(item, version)
            for sighting in item["sightings"]:
                text = f"recognised in {name_of_item(item, version)}: score {sighting['score']:.2f},"
                ids = {"reference": sighting["reference_id"], "twin": sighting["twin_id"]}
                yield Step("matching", item["known_at"], f"{text} {sighting['description']}{_disclosed(sighting)}", ids)
    for use in matching.get("uses", ()):
        yield from _published(use)


def _disclosed(sighting: Json) -> str:
    told = sighting.get("disclosure")
    if told is None:
        return ""
    types = [told[name] for name in ("c2pa_source_type", "xmp_source_type") if told[name]]
    return f"; Content Credentials {told['c2pa']}, source type {' and '.join(types) or 'not told'}"


def _image(item: Json, version: Json) -> Step:
    where = item["url"] or f"upload {item['upload_sha256']}"
    ids = {"event": version["event_id"], **({"image": item["digest"]} if item["digest"] else {})}
    match item["state"]:
        case "matched":
            told = f"fetched, shows {_count(len(item['sightings']), 'reference')}"
        case "unmatched":
            told = "fetched, shows no registered twin"
        case "pending":
            told = waits(item)
        case "unknown":
            told = "nothing is known of it yet"
        case state:
            told = f"{GONE_ON.get(state, state)}: {item['reason']}"
    at = item["known_at"] or item["waits_since"]
    return Step("matching", at, f"{name_of_item(item, version)} ({where}): {told}", ids)


def _published(use: Json) -> Iterator[Step]:
    ids = {"use": use["use_id"], "twin": use["twin_id"]}
    states, last = use["states"], use["revision"]
    if not states and last:
        yield Step("matching", None, f"use published up to revision {last}, more than a day ago", ids)
    for number, state in enumerate(states, last - len(states) + 1):
        told = "published" if state["sent_at"] else f"waits in the outbox since {clock(state['stored_at'])}"
        at = state["sent_at"] or state["stored_at"]
        yield Step("matching", at, f"use, revision {number}: {told}", {**ids, "event": state["event_id"]})


def _in_judging(found: Gathered) -> Iterator[Step]:
    for use_id, use in found.uses.items():
        for then in use["history"]:
            yield Step(
                "judging",
                then["judged_at"],
                f"judged {_verdict(then)}, as known then (revision {then['seen_revision']} of the use)",
                {"use": use_id, **_license(then)},
            )
        now = "withheld" if use["awaiting_fresh"] else _verdict(use)
        states = [f"{name} {use[name]}" for name in ("usage", "infringement") if use[name]]
        told = f"; published: {', '.join(states)}" if states else "; nothing published"
        yield Step("judging", use["judged_at"], f"verdict as known now: {now}{told}", {"use": use_id, **_license(use)})


def _verdict(judged: Json) -> str:
    reasons = "".join(f"; {reason['dimension']}: {reason['text']}" for reason in judged["reasons"])
    return f"{judged['verdict']}{reasons}"


def _license(judged: Json) -> dict[str, str]:
    if judged["license_id"] is None:
        return {}
    version = judged["license_version"]
    return {"license": judged["license_id"] + (f" v{version}" if version is not None else "")}


def _in_alerts(found: Gathered) -> Iterator[Step]:
    for use_id, case in found.cases.items():
        ids = {"case": use_id}
        for step in case["steps"]:
            why = f": {step['why']}" if step["why"] else ""
            yield Step("alerts", step["happened_at"], f"case {step['kind']} by {step['done_by']}{why}", ids)
        for alert in case["alerts"]:
            named = f"alert {alert['sequence']} ({alert['kind']})"
            if alert["digested"]:
                yield Step("alerts", None, f"{named}: kept for a digest", {**ids, "event": alert["event_id"]})
            for delivery in alert["deliveries"]:
                yield _delivery(named, delivery, {**ids, "event": alert["event_id"]})


def _delivery(named: str, delivery: Json, ids: Mapping[str, str]) -> Step:
    tried = f"{delivery['status']} after {_count(delivery['attempts'], 'attempt')} to {delivery['url']}"
    answers = [str(delivery[name]) for name in ("last_status", "last_reason") if delivery[name] is not None]
    answered = f", last answer {' '.join(answers)}" if answers else ""
    again = f"; next try at {clock(delivery['next_try_at'])}" if delivery["next_try_at"] else ""
    all_ids = {**ids, "delivery": delivery["delivery_id"], "endpoint": delivery["endpoint_id"]}
    at = delivery["finished_at"] or delivery["next_try_at"]
    return Step("alerts", at, f"{named}: {tried}{answered}{again}", all_ids)


def _in_royalty(found: Gathered) -> Iterator[Step]:
    for use_id, transactions in found.transactions.items():
        for booked in transactions:
            amounts = ", ".join(f"{name} {money}" for name, money in amounts_of(booked).items())
            ids = {"use": use_id, "transaction": booked["transaction_id"], **_license(booked)}
            if booked["corrects"]:
                ids["corrects"] = booked["corrects"]
            named = f"{booked['line']} booked in {booked['period']} for usage revision {booked['usage_revision']}"
            yield Step("royalty", booked["booked_at"], f"{named}: {amounts}", ids)


def amounts_of(booked: Json) -> dict[str, str]:
    """What each ledger account gets by a transaction; a credit is negative in the ledger, and the payee's gain."""
    return {entry["ledger_account"]: formatted(_gain(entry), booked["currency"]) for entry in booked["entries"]}


def _gain(entry: Mapping[str, Any]) -> int:
    minor = int(entry["minor"])
    return -minor if str(entry["ledger_account"]).startswith("payable:") else minor


def _times(number: int) -> str:
    return "once" if number == 1 else f"{number} times"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
