"""Sends the story and reads what comes of it, from the public APIs and the receiver."""

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path
from typing import Any

from infra.demo.house import House
from infra.demo.outcome import AlertFound, CaseFound, Outcome, UseFound
from infra.demo.story import Content, Fact, Picture
from infra.demo.truth import Truth

READS_AT_ONCE = 4


def send_all(house: House, truth: Truth, hosts: tuple[str, str], step: Callable[[int, int], None]) -> Counter[str]:
    """Send every webhook in its order; how many items had each outcome. `hosts`: the prompt one, the stalling one."""
    outcomes: Counter[str] = Counter()
    for number, sending in enumerate(truth.sendings, start=1):
        items = [item_of(fact, hosts) for fact in sending.facts]
        told = house.send(sending.platform, {"items": items} if len(items) > 1 else items[0])
        outcomes.update(result["outcome"] for result in told)
        step(number, len(truth.sendings))
    return outcomes


def read_outcome(house: House, truth: Truth, sent: Counter[str], outcome: Outcome) -> Outcome:
    """What the services tell at this moment."""
    told = house.http.get(f"{house.control_url}/alerts").json()
    balance = house.call("royalty", "GET", "/v1/ledger/balance")
    return outcome.model_copy(
        update={
            "accepted": sent["accepted"],
            "duplicates": sent["duplicate"],
            "uses": {_name(house, row): _use(house, row) for row in house.pages("judging", "/v1/uses")},
            "cases": {name: case for agency in truth.cast.agencies for name, case in _cases(house, agency)},
            "alerts": _alerts(house, told["alerts"]),
            "alerts_refused": told["refused"],
            "statements": _statements(house),
            "ledger_balanced": balance["balanced"],
            "media": _media(house),
        }
    )


def read_evidence(house: House, truth: Truth, folder: Path) -> dict[str, bytes]:
    """The published images that matching keeps because they show a twin, by their name in the demo."""

    def kept(picture: Picture) -> bytes | None:
        digest = sha256((folder / picture.name).read_bytes()).hexdigest()
        answer = house.ask("matching", "GET", f"/v1/media/sha256:{digest}")
        return answer.content if answer.is_success else None

    with ThreadPoolExecutor(READS_AT_ONCE) as pool:
        found = zip(truth.pictures, pool.map(kept, truth.pictures), strict=True)
        return {picture.name: image for picture, image in found if image is not None}


def item_of(fact: Fact, hosts: tuple[str, str]) -> dict[str, Any]:
    """A fact as a webhook tells it."""
    item: dict[str, Any] = {
        "type": f"post.{fact.kind}",
        "post_id": fact.post,
        "occurred_at": fact.occurred_at.isoformat(),
    }
    if fact.backfill:
        item["backfill"] = True
    if fact.impressions is not None:
        item["impressions"] = fact.impressions
    if fact.content is not None:
        item["post"] = _post(fact.content, hosts)
    return item


def _post(content: Content, hosts: tuple[str, str]) -> dict[str, Any]:
    return {
        "account": content.account,
        "partner_accounts": list(content.partners),
        "paid_partnership": bool(content.partners),
        "territories": list(content.territories),
        "reposts": content.reposts,
        "media": [{"url": url_of(picture, hosts)} for picture in content.pictures],
    }


def url_of(picture: Picture, hosts: tuple[str, str]) -> str:
    """Where a picture is published."""
    prompt, stalling = hosts
    match picture.served:
        case "stalls":
            return f"{stalling}/never/{picture.name}"
        case "stalls_once":
            return f"{stalling}/once/{picture.name}"
        case _:
            return f"{prompt}/{picture.name}"


def _name(house: House, row: dict[str, Any]) -> str:
    post = row.get("post", row)
    return f"{post['platform']}/{post['post_id']}/{house.name_of(row['twin_id'])}"


def _use(house: House, row: dict[str, Any]) -> UseFound:
    return UseFound(
        verdict=row["verdict"],
        fails=tuple(sorted(reason["dimension"] for reason in row["reasons"])),
        reasons=tuple(house.readable(reason["text"]) for reason in row["reasons"]),
        ended=row["ended_at"] is not None,
    )


def _cases(house: House, agency: str) -> list[tuple[str, CaseFound]]:
    rows = house.pages("alerts", "/v1/cases", key=house.keys[agency], rows="cases")
    return [(_name(house, row), CaseFound(agency=agency, status=row["status"])) for row in rows]


def _alerts(house: House, told: list[dict[str, Any]]) -> dict[str, list[AlertFound]]:
    found: dict[str, list[AlertFound]] = {}
    for alert in told:
        data = alert["data"]
        found.setdefault(_name(house, data), []).append(
            AlertFound(
                agency=alert["agency"],
                sequence=data["sequence"],
                kind=alert["type"].rpartition(".")[2],
                verdict=data["verdict"],
            )
        )
    return found


def _statements(house: House) -> dict[str, int]:
    totals: Counter[str] = Counter()
    for row in house.call("royalty", "GET", "/v1/statements", params={"limit": "1000"}):
        kind, _, payee = row["payee"].partition(":")
        totals[f"{kind}:{house.name_of(payee)} {row['currency']}"] += row["total_minor"]
    return dict(sorted((payee, total) for payee, total in totals.items() if total))


def _media(house: House) -> dict[str, int]:
    told = house.metric("matching", "twintally_matching_media_total")
    return {label.partition('"')[2].partition('"')[0]: int(number) for label, number in told.items()}
