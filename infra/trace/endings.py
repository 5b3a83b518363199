"""Where the trail of a post ends, and why, in the words of a person on call; values in, values out."""

from collections.abc import Iterator
from dataclasses import dataclass

from infra.trace.gathering import Gathered, Json
from infra.trace.story import GONE_ON, clock, name_of_item, waits


@dataclass(frozen=True)
class Ending:
    """Where the trail (of one use, or of the post) ends and why; `waits` when more is to come, `first_step` if any."""

    service: str
    why: str
    use_id: str | None = None
    waits: bool = False
    first_step: str | None = None


def endings_of(found: Gathered) -> list[Ending]:
    """At least one; every use has one, and every image that says nothing."""
    endings = [Ending(service, why, waits=True) for service, why in found.away.items()]
    endings += _of_images(found)
    for use_id in found.use_ids:
        endings += _of_use(found, use_id)
    return endings


def _of_images(found: Gathered) -> Iterator[Ending]:
    if found.matching is None:
        return
    for event_id in found.matching["unreadable_facts"]:
        why = f"the stored fact {event_id} cannot be read by this version, and is left out"
        yield Ending("matching", why, waits=True, first_step="`twintally stack logs matching` names the error")
    if not found.matching["versions"]:
        told = ", ".join(dict.fromkeys(fact["kind"] for fact in found.matching["facts"]))
        why = f"only this is known of the post: {told or 'nothing readable'}; its publication has not come"
        yield Ending("matching", why, waits=True, first_step="ask the platform to send it again")
    versions = found.matching["versions"]
    items = [(item, version) for version in versions for item in version["media"]]
    yield from (_of_image(item, version) for item, version in items if item["state"] not in ("matched", "unmatched"))
    seen = [item for item, _ in items if item["state"] == "unmatched"]
    if not found.matching["uses"] and seen:
        why = f"no registered twin was recognised in {len(seen)} of {len(items)} images; they call for no verdict"
        yield Ending("matching", why)


def _of_image(item: Json, version: Json) -> Ending:
    name = name_of_item(item, version)
    match item["state"]:
        case "pending":
            return Ending("matching", f"{name}: {waits(item)}", waits=True)
        case "unknown":
            why = f"{name} is being looked at, or its record failed"
            return Ending("matching", why, waits=True, first_step="`twintally dlq list --consumer matching`")
        case state:
            return Ending("matching", f"{name} {GONE_ON.get(state, state)}: {item['reason']}")


def _of_use(found: Gathered, use_id: str) -> Iterator[Ending]:
    if (unsent := _unsent(found, use_id)) is not None:
        yield unsent
    if "judging" in found.away:
        return
    use = found.uses.get(use_id)
    revision = _revision(found, use_id)
    if use is None or use["seen_revision"] < revision:
        if unsent is None:
            yield _not_judged(use_id, use, revision)
        if use is None:
            return
    if use["awaiting_fresh"]:
        problem = (found.freshness or {}).get("problem")
        why = (
            f"lookup data is not fresh: {problem}" if problem else "it is judged again now: lookup data is fresh again"
        )
        step = "`twintally status` says what keeps it from being fresh" if problem else None
        yield Ending("judging", f"verdict withheld; {why}", use_id, waits=True, first_step=step)
        return
    yield from _of_verdict(found, use_id, use)


def _of_verdict(found: Gathered, use_id: str, use: Json) -> Iterator[Ending]:
    if use["verdict"] == "no_use":
        yield Ending("judging", "a repost of the platform's own kind is no use: no bill, no alert", use_id)
    elif use["verdict"] == "licensed":
        yield from _of_usage(found, use_id)
    elif use["infringement"] is None:
        why = "judging does not know the twin yet, so nobody can be told"
        yield Ending("judging", why, use_id, waits=True, first_step="`twintally dlq list --consumer judging.lookups`")
    else:
        yield from _of_infringement(found, use_id, use)


def _of_usage(found: Gathered, use_id: str) -> Iterator[Ending]:
    if "royalty" in found.away:
        return
    transactions = found.transactions.get(use_id, [])
    if found.livemode is False:
        yield Ending("royalty", "licensed in the sandbox, which never reaches the ledger", use_id)
    elif not transactions:
        why = "usage is published, and no ledger transaction is booked for it yet"
        yield Ending("royalty", why, use_id, waits=True, first_step="`twintally dlq list --consumer royalty`")
    elif transactions[-1]["line"] == "reversal":
        why = "usage is published again, and only its reversal is booked yet"
        yield Ending("royalty", why, use_id, waits=True, first_step="`twintally dlq list --consumer royalty`")
    else:
        yield Ending("royalty", f"licensed, and booked in {transactions[-1]['period']}: the trail is whole", use_id)


def _of_infringement(found: Gathered, use_id: str, use: Json) -> Iterator[Ending]:
    if "alerts" in found.away:
        return
    case = found.cases.get(use_id)
    if case is None:
        why = f"the infringement is {use['infringement']}, and there is no case of it yet"
        yield Ending("alerts", why, use_id, waits=True, first_step="`twintally dlq list --consumer alerts`")
        return
    if not case["alerts"]:
        yield Ending("alerts", f"the case is {case['status']}; nothing was to be told of it", use_id)
    for alert in case["alerts"]:
        yield from _of_alert(alert, use_id)


def _of_alert(alert: Json, use_id: str) -> Iterator[Ending]:
    named = f"alert {alert['sequence']} ({alert['kind']})"
    if alert["digested"]:
        yield Ending("alerts", f"{named} goes into a digest, not to the endpoints", use_id)
    elif not alert["deliveries"]:
        yield Ending("alerts", f"{named}: the agency had no active endpoint; it sees the case over REST", use_id)
    for delivery in alert["deliveries"]:
        last = delivery["last_reason"] or delivery["last_status"]
        match delivery["status"]:
            case "delivered":
                yield Ending("alerts", f"{named} was delivered to {delivery['url']}: the trail is whole", use_id)
            case "pending":
                tried = f"{named} is not delivered after {delivery['attempts']} attempts"
                why = (
                    f"{tried}: {last}; next try at {clock(delivery['next_try_at'])}"
                    if last
                    else f"{named} is under way"
                )
                yield Ending("alerts", why, use_id, waits=True)
            case status:
                became = {"gave_up": "was given up", "failed": "failed", "cancelled": "was cancelled"}.get(
                    status, status
                )
                why = f"{named} {became}: {last}"
                step = f"tell the agency that {delivery['url']} takes no alerts; it sees the case over REST"
                yield Ending("alerts", why, use_id, first_step=step)


def _unsent(found: Gathered, use_id: str) -> Ending | None:
    for use in (found.matching or {}).get("uses", ()):
        waiting = [state for state in use["states"] if not state["sent_at"]]
        if use["use_id"] == use_id and waiting:
            why = f"revision {use['revision']} waits in matching's outbox since {clock(waiting[0]['stored_at'])}"
            return Ending("matching", why, use_id, waits=True, first_step="`twintally status`: does its relay run?")
        if use["use_id"] == use_id and use["revision"] == 0:
            return Ending("matching", "the use is not published yet", use_id, waits=True)
    return None


def _revision(found: Gathered, use_id: str) -> int:
    uses = (found.matching or {}).get("uses", ())
    return next((int(use["revision"]) for use in uses if use["use_id"] == use_id), 0)


def _not_judged(use_id: str, use: Json | None, revision: int) -> Ending:
    known = "has not judged it yet" if use is None else f"has judged it up to revision {use['seen_revision']}"
    why = f"matching published revision {revision} of the use, and judging {known}"
    return Ending("judging", why, use_id, waits=True, first_step="`twintally dlq list --consumer judging`")
