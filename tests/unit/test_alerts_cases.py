"""What makes an agency hear of an infringement."""

from datetime import UTC, datetime
from typing import Any

from services.alerts.domain import Case, acknowledged, fold
from shared.events import InfringementState, Reason, Sighting

NOON = datetime(2026, 11, 3, 12, tzinfo=UTC)
FIRST, SECOND = "sha256:" + "a" * 64, "sha256:" + "b" * 64


def a_sighting(media: str = FIRST) -> Sighting:
    return Sighting(
        sighting_id=f"s-{media[-1]}",
        reference_id="ref-1",
        media_digest=media,
        media_url="https://cdn.example/1.jpg",
        score=0.9,
        region=(0, 0, 10, 20),
        transform=((1, 0, 0), (0, 1, 0), (0, 0, 1)),
        description="as it is",
        algorithm="v1",
    )


def an_infringement(revision: int = 1, *, media: tuple[str, ...] = (FIRST,), **changes: Any) -> InfringementState:
    given: dict[str, Any] = {
        "use_id": "use-1",
        "revision": revision,
        "occurred_at": NOON,
        "verdict": "unlicensed",
        "reasons": (Reason(dimension="license", text="no license with this brand"),),
        "platform": "instagram",
        "post_id": "p1",
        "account": "thief",
        "twin_id": "twin-1",
        "talent_id": "talent-1",
        "agency_id": "agency-1",
        "started_at": NOON,
        "sightings": tuple(a_sighting(digest) for digest in media),
    }
    return InfringementState(**{**given, **changes})


def told(*states: InfringementState) -> tuple[Case | None, list[tuple[str, int, str]]]:
    """The case after these states, and what was told: kind, sequence, agency."""
    case, alerts = None, []
    for state in states:
        folded = fold(case, state)
        if folded is not None:
            case = folded.case
            alerts += [(news.kind, news.sequence, news.infringement.agency_id) for news in folded.news]
    return case, alerts


def kinds(*states: InfringementState) -> list[str]:
    return [kind for kind, _, _ in told(*states)[1]]


def test_an_open_infringement_opens_a_case_and_is_told_once():
    case, alerts = told(an_infringement(1), an_infringement(1), an_infringement(1))
    assert alerts == [("opened", 1, "agency-1")]
    assert case is not None
    assert case.status == "open"


def test_a_lower_revision_changes_nothing_however_late_it_comes():
    assert kinds(an_infringement(2), an_infringement(1, verdict="out_of_scope")) == ["opened"]


def test_another_verdict_other_reasons_and_new_media_are_told():
    other = (Reason(dimension="term", text="expired"),)
    assert kinds(an_infringement(1), an_infringement(2, verdict="out_of_scope")) == ["opened", "changed"]
    assert kinds(an_infringement(1), an_infringement(2, reasons=other)) == ["opened", "changed"]
    assert kinds(an_infringement(1), an_infringement(2, media=(FIRST, SECOND))) == ["opened", "changed"]


def test_what_does_not_matter_to_an_agency_is_not_told():
    ended = an_infringement(2, ended_at=NOON)
    less = an_infringement(3, ended_at=NOON, media=())
    back = an_infringement(4, media=(FIRST,))
    assert kinds(an_infringement(1), ended, less, back) == ["opened"]


def test_the_order_of_reasons_is_no_change():
    reasons = (Reason(dimension="term", text="expired"), Reason(dimension="territory", text="FR"))
    assert kinds(an_infringement(1, reasons=reasons), an_infringement(2, reasons=reasons[::-1])) == ["opened"]


def test_withdrawn_and_opened_again_are_told_in_turn():
    case, alerts = told(
        an_infringement(1), an_infringement(2, status="withdrawn"), an_infringement(3, status="withdrawn"),
        an_infringement(4),
    )  # fmt: skip
    assert [(kind, sequence) for kind, sequence, _ in alerts] == [("opened", 1), ("withdrawn", 2), ("opened", 3)]
    assert case is not None
    assert case.status == "open"


def test_withdrawn_before_anyone_heard_is_not_told():
    case, alerts = told(an_infringement(3, status="withdrawn"), an_infringement(1))
    assert alerts == []
    assert case is not None
    assert case.status == "withdrawn"


def test_a_held_use_is_not_told_until_it_is_released():
    held = an_infringement(1, status="held")
    assert kinds(held) == []
    assert kinds(held, an_infringement(2)) == ["opened"]
    assert kinds(an_infringement(1), an_infringement(2, status="held"), an_infringement(3)) == ["opened"]


def test_the_past_is_kept_for_a_digest():
    folded = fold(None, an_infringement(1, backfill=True))
    assert folded is not None
    assert [news.digested for news in folded.news] == [True]


def test_an_alert_keeps_its_id_at_every_replay():
    first, again = fold(None, an_infringement(1)), fold(None, an_infringement(1))
    assert first is not None
    assert again is not None
    assert first.news[0].event_id == again.news[0].event_id


def test_another_agency_opens_its_own_and_the_old_one_hears_that_it_is_over():
    moved = an_infringement(2, agency_id="agency-2")
    assert told(an_infringement(1), moved)[1] == [
        ("opened", 1, "agency-1"),
        ("withdrawn", 2, "agency-1"),
        ("opened", 3, "agency-2"),
    ]
    assert told(an_infringement(1, status="held"), moved)[1] == [("opened", 1, "agency-2")]


def test_acknowledged_stays_so_until_there_is_news():
    case, _ = told(an_infringement(1))
    assert case is not None
    in_hand = acknowledged(case)
    assert in_hand is not None
    quiet = fold(in_hand, an_infringement(2, ended_at=NOON))
    news = fold(in_hand, an_infringement(2, media=(FIRST, SECOND)))
    assert quiet is not None
    assert news is not None
    assert (quiet.case.status, news.case.status) == ("acknowledged", "open")
    assert acknowledged(in_hand) == in_hand


def test_only_an_open_case_can_be_acknowledged():
    for status in ("held", "withdrawn"):
        case, _ = told(an_infringement(1, status=status))
        assert case is not None
        assert acknowledged(case) is None


def test_what_turns_out_to_be_live_is_told_whichever_was_known_first():
    past, live = an_infringement(1, backfill=True), an_infringement(2)
    case, alerts = told(past, live, an_infringement(3, ended_at=NOON))
    assert alerts == [("opened", 1, "agency-1"), ("opened", 2, "agency-1")]
    assert case is not None
    assert case.told is not None
    assert not case.told.digested
    assert kinds(an_infringement(1), an_infringement(2)) == ["opened"]


def test_what_is_no_news_of_the_past_stays_in_the_digest():
    assert kinds(an_infringement(1, backfill=True), an_infringement(2, backfill=True, ended_at=NOON)) == ["opened"]
