"""A post's steps and where its trail ends, from what the services answered; none of them runs here."""

import json
from typing import Any

import httpx2
import pytest
from pydantic import SecretStr
from rich.console import Console

from infra.trace import asking
from infra.trace.asking import Asker, Away
from infra.trace.endings import endings_of
from infra.trace.gathering import Gathered, Post, gather, post_named
from infra.trace.showing import as_json, shown
from infra.trace.story import steps_of

AT = "2026-11-02T12:00:0{}Z"
USE = "0e4c2b9c-6d2d-5f0e-8a51-1f6a3f0a0001"
URL = "https://images.example/a.jpg"
CLIENT = httpx2.Client


def an_item(state: str = "matched", **told: Any) -> dict[str, Any]:
    nothing = dict.fromkeys(("digest", "reason", "known_at", "attempts", "waits_since", "next_try_at"))
    sighting = {"reference_id": "ref-1", "twin_id": "twin-1", "score": 0.93, "description": "cropped to 56 %"}
    sightings = [sighting] if state == "matched" else []
    return {"number": 0, "url": URL, "upload_sha256": None, "state": state, **nothing, "sightings": sightings, **told}


def matching_told(*items: dict[str, Any], revision: int = 1, sent_at: str | None = AT.format(3)) -> dict[str, Any]:
    fact = {"event_id": "fact-1", "kind": "published", "occurred_at": AT.format(0), "stored_at": AT.format(1)}
    state = {"event_id": "state-1", "stored_at": AT.format(2), "sent_at": sent_at}
    use = {"use_id": USE, "twin_id": "twin-1", "revision": revision, "states": [state]}
    return {
        "facts": [{**fact, "impressions": None, "backfill": False, "time_doubtful": False}],
        "unreadable_facts": [],
        "versions": [{"event_id": "fact-1", "media": list(items)}],
        "uses": [use] if any(item["state"] == "matched" for item in items) else [],
    }


def judged(verdict: str | None = "licensed", **told: Any) -> dict[str, Any]:
    lic = {"license_id": "lic-1", "license_version": 2} if verdict == "licensed" else {}
    view = {"verdict": verdict, "reasons": [], "license_id": None, "license_version": None, **lic}
    history = [{**view, "judged_at": AT.format(4), "seen_revision": 1}] if verdict else []
    states = {
        "usage": "active" if verdict == "licensed" else None,
        "infringement": "open" if verdict == "unlicensed" else None,
    }
    ours = {"use_id": USE, "awaiting_fresh": verdict is None, "seen_revision": 1, "judged_at": AT.format(4)}
    return {**view, **states, **ours, "history": history, **told}


def a_case(*deliveries: dict[str, Any], digested: bool = False) -> dict[str, Any]:
    alert = {"event_id": "alert-1", "sequence": 1, "kind": "opened", "digested": digested}
    step = {"kind": "opened", "happened_at": AT.format(5), "done_by": "judging", "why": "no license"}
    return {"status": "open", "steps": [step], "alerts": [{**alert, "deliveries": list(deliveries)}]}


def a_delivery(status: str, **told: Any) -> dict[str, Any]:
    nothing = dict.fromkeys(("last_status", "last_reason", "finished_at", "next_try_at"))
    names = {"delivery_id": "d-1", "endpoint_id": "e-1", "url": "https://agency.example"}
    return {**names, "status": status, "attempts": 3, **nothing, **told}


def a_fee(line: str = "fee") -> dict[str, Any]:
    entries = (("payable:talent:t1", -7071), ("payable:agency:a1", -3030), ("receivable:brand:b1", 10101))
    return {
        "line": line,
        "transaction_id": "tx-1",
        "corrects": None,
        "period": "2026-11",
        "currency": "EUR",
        "usage_revision": 1,
        "booked_at": AT.format(6),
        "license_id": "lic-1",
        "license_version": 2,
        "entries": [{"ledger_account": account, "minor": minor} for account, minor in entries],
    }


def found_of(*items: dict[str, Any], use: dict[str, Any] | None = None, **told: Any) -> Gathered:
    found = Gathered(Post("instagram", "post-1"), livemode=True, matching=matching_told(*(items or (an_item(),))))
    found.uses = {USE: use} if use is not None else {}
    for name, value in told.items():
        setattr(found, name, value)
    return found


def why(found: Gathered) -> str:
    """The only ending's service and reason."""
    [ending] = endings_of(found)
    return f"{ending.service}: {ending.why}"


def test_a_licensed_post_is_told_step_by_step_and_its_trail_is_whole():
    found = found_of(use=judged(), transactions={USE: [a_fee()]})
    steps = steps_of(found)
    assert [step.service for step in steps] == ["intake", *["matching"] * 4, "judging", "judging", "royalty"]
    texts = "\n".join(step.text for step in steps)
    assert "accepted not later than 2026-11-02 12:00:01.000" in texts
    assert "recognised in image 1 of 1: score 0.93, cropped to 56 %" in texts
    assert "use, revision 1: published" in texts
    assert "receivable:brand:b1 101.01 EUR" in texts
    assert "payable:talent:t1 70.71 EUR" in texts
    assert steps[-1].ids == {"use": USE, "transaction": "tx-1", "license": "lic-1 v2"}
    assert why(found) == "royalty: licensed, and booked in 2026-11: the trail is whole"


def test_steps_of_a_service_stand_in_the_order_of_time_whatever_zone_it_writes():
    late, early = "2026-11-02T12:00:05+00:00", "2026-11-02T13:00:04+01:00"
    steps = [{"kind": kind, "happened_at": at, "done_by": "x", "why": ""} for kind, at in (("b", late), ("a", early))]
    found = found_of(use=judged("unlicensed"), cases={USE: {"status": "open", "steps": steps, "alerts": []}})
    assert [step.text for step in steps_of(found) if step.service == "alerts"] == ["case a by x", "case b by x"]


@pytest.mark.parametrize(
    ("item", "said"),
    [
        (
            an_item("pending", attempts=3, reason="no answer within 5 s", next_try_at=AT.format(9)),
            "could not be fetched 3 times: no answer within 5 s; next try at 2026-11-02 12:00:09.000",
        ),
        (
            an_item("pending", attempts=0, reason="the host rests", next_try_at=AT.format(9)),
            "nobody has asked its host yet: the host rests",
        ),
        (an_item("unfetchable", reason="the host answered 404"), "is not tried again: the host answered 404"),
        (an_item("undecodable", reason="truncated"), "is no picture that can be read: truncated"),
        (an_item("unknown"), "is being looked at, or its record failed"),
        (an_item("unmatched"), "no registered twin was recognised in 1 of 1 images"),
    ],
)
def test_an_image_that_leads_nowhere_says_why(item, said):
    assert said in why(found_of(item))
    assert steps_of(found_of(item))


def test_a_post_whose_publication_never_came_says_so():
    found = found_of()
    found.matching = {**matching_told(), "versions": [], "uses": []}
    assert "only this is known of the post: published; its publication has not come" in why(found)


def test_a_use_that_judging_has_not_seen_or_not_seen_whole_says_so():
    assert "published revision 1 of the use, and judging has not judged it yet" in why(found_of())
    behind = found_of(use=judged(), transactions={USE: [a_fee()]}, matching=matching_told(an_item(), revision=2))
    assert "judging has judged it up to revision 1" in endings_of(behind)[0].why


def test_a_use_in_the_outbox_waits_for_matching_not_for_judging():
    found = found_of(matching=matching_told(an_item(), sent_at=None))
    assert why(found) == "matching: revision 1 waits in matching's outbox since 2026-11-02 12:00:02.000"


def test_a_withheld_verdict_names_what_keeps_it():
    stale = {"problem": "registry has told no watermark yet"}
    assert "verdict withheld; lookup data is not fresh: registry has told" in why(
        found_of(use=judged(None), freshness=stale)
    )
    assert "judged again now" in why(found_of(use=judged(None), freshness={"problem": None}))


@pytest.mark.parametrize(
    ("delivery", "said"),
    [
        (a_delivery("delivered", last_status=204, finished_at=AT.format(7)), "was delivered to https://agency.example"),
        (
            a_delivery("pending", last_reason="no answer", next_try_at=AT.format(9)),
            "is not delivered after 3 attempts: no answer; next try at 2026-11-02 12:00:09.000",
        ),
        (a_delivery("gave_up", last_reason="500 for a day"), "was given up: 500 for a day"),
    ],
)
def test_an_alert_ends_with_what_became_of_its_delivery(delivery, said):
    found = found_of(use=judged("unlicensed"), cases={USE: a_case(delivery)})
    assert said in why(found)
    assert any(step.ids.get("delivery") == "d-1" for step in steps_of(found))


@pytest.mark.parametrize(
    ("use", "told", "said"),
    [
        (judged("unlicensed"), {}, "there is no case of it yet"),
        (judged("unlicensed"), {"cases": {USE: a_case()}}, "the agency had no active endpoint"),
        (judged("unlicensed"), {"cases": {USE: a_case(digested=True)}}, "goes into a digest"),
        (judged("unlicensed", infringement=None), {}, "judging does not know the twin yet"),
        (judged("no_use"), {}, "is no use: no bill, no alert"),
        (judged(), {}, "no ledger transaction is booked for it yet"),
        (judged(), {"transactions": {USE: [a_fee("reversal")]}}, "only its reversal is booked yet"),
        (judged(), {"livemode": False}, "in the sandbox, which never reaches the ledger"),
        (judged(), {"away": {"royalty": "royalty does not answer"}}, "royalty does not answer"),
    ],
)
def test_every_use_has_an_end(use, told, said):
    assert said in why(found_of(use=use, **told))


class Answers:
    """Services that answer from a table; what is not in it is 404, and an exception is raised."""

    livemode: bool | None = True

    def __init__(self, **told: Any) -> None:
        self._told = {name.replace("__", " /v1/"): value for name, value in told.items()}

    def get(self, service: str, path: str, **query: str) -> Any:
        found = self._told.get(f"{service} {'/'.join(path.split('/')[:3])}")
        if isinstance(found, Exception):
            raise found
        return found


def test_the_services_that_answer_are_asked_although_one_is_away():
    ask = Answers(matching__posts=Away("matching is away"), royalty__transactions=[a_fee()])
    ask.get = with_uses(ask.get)
    found = gather(ask, Post("instagram", "post-1"))
    assert found.away == {"matching": "matching is away"}
    assert found.use_ids == [USE]
    assert found.known
    assert "matching is away" in str(shown_text(found))
    assert json.dumps(as_json(found, steps_of(found), endings_of(found)))


def with_uses(get: Any) -> Any:
    def asked(service: str, path: str, **query: str) -> Any:
        if service != "judging":
            return get(service, path, **query)
        return {"/v1/uses": [judged()], f"/v1/uses/{USE}": judged()}.get(path, {"problem": None})

    return asked


def shown_text(found: Gathered) -> str:
    console = Console(width=160)
    with console.capture() as captured:
        console.print(shown(found, steps_of(found), endings_of(found)))
    return captured.get()


def test_what_comes_from_outside_does_nothing_to_the_terminal():
    found = found_of(an_item("unfetchable", reason="[bold]x\x1b[2J\u202e"))
    assert "[bold]x\\x1b[2J\\u202e" in shown_text(found)


@pytest.mark.parametrize(
    ("named", "post"),
    [
        (("instagram", "post:1"), Post("instagram", "post:1")),
        (("instagram:post:1", None), Post("instagram", "post:1")),
        ((USE.upper(), None), Post("instagram", "post-9")),
    ],
)
def test_a_post_is_named_by_its_platform_and_id_or_by_an_id_of_ours(named, post):
    ask = Answers(matching__posts={"platform": "instagram", "post_id": "post-9"})
    assert post_named(ask, *named) == post


@pytest.mark.parametrize("named", [("word", None), ("Insta gram", "1"), (":1", None), ("instagram", "a\nb")])
def test_what_names_no_post_is_refused(named):
    with pytest.raises(ValueError, match=r"names no post|platform|post id"):
        post_named(Answers(), *named)


def test_an_id_that_nobody_knows_names_none():
    assert post_named(Answers(), USE, None) is None


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (httpx2.Response(403, json={"detail": "The role agency may not do this"}), "does not take this API key"),
        (httpx2.Response(404, json={"detail": "Not Found"}), r"refused \(404\): Not Found"),
        (httpx2.Response(503, text="away"), r"refused \(503\): away"),
        (httpx2.Response(200, text="<html>"), "sent no JSON"),
    ],
)
def test_a_service_that_does_not_tell_says_why(monkeypatch, answer, said):
    with asker(monkeypatch, answer) as ask, pytest.raises(Away, match=said):
        ask.get("matching", "/v1/posts/a/b")
    with asker(monkeypatch, answer) as ask, pytest.raises(Away, match="set TWINTALLY_URL_ALERTS"):
        ask.get("alerts", "/v1/cases/x")


def test_what_a_service_does_not_have_is_none_and_the_key_tells_its_mode(monkeypatch):
    with asker(monkeypatch, httpx2.Response(404, json={"detail": "No use x; GET /v1/uses lists yours"})) as ask:
        assert ask.get("matching", "/v1/uses/x") is None
    answer = httpx2.Response(200, json={}, headers={"Twintally-Livemode": "false"})
    with asker(monkeypatch, answer) as ask:
        assert ask.get("matching", "/v1/uses/x") == {}
        assert ask.livemode is False


def asker(monkeypatch: pytest.MonkeyPatch, answer: httpx2.Response) -> Asker:
    made = CLIENT(transport=httpx2.MockTransport(lambda request: answer))
    monkeypatch.setattr(asking.httpx2, "Client", lambda **_: made)
    return Asker({"matching": "http://matching"}, SecretStr("twk_x"))
