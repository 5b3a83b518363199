"""How an alert is signed, said and tried again."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from services.alerts.delivery import (
    PAUSES_S,
    Attempt,
    Delivered,
    EndpointGone,
    Failed,
    GaveUp,
    NotAllowed,
    NotReached,
    StatusTold,
    TryAgain,
    headers_of,
    new_secret_text,
    outcome_of,
)
from services.alerts.domain import News
from services.alerts.payload import body_of
from shared.events import Disclosure, InfringementState, Reason, Sighting

NOON = datetime(2026, 11, 3, 12, tzinfo=UTC)
DIGEST = "sha256:" + "ab" * 32


def an_attempt(*secrets: str) -> Attempt:
    return Attempt(UUID(int=1), 1, UUID(int=2), "ep_1", "https://agency.example/", secrets, 3, '{"type":"é"}')


@pytest.mark.parametrize("status", [200, 202, 204])
def test_any_2xx_is_success(status: int):
    assert outcome_of(StatusTold(status), attempt=1, jitter=0) == Delivered(status)


def test_410_wants_nothing_any_more():
    assert outcome_of(StatusTold(410), attempt=1, jitter=0) == EndpointGone()


def test_what_we_may_not_ask_is_not_tried_again():
    assert outcome_of(NotAllowed("10.0.0.1"), attempt=1, jitter=0) == Failed("10.0.0.1")


@pytest.mark.parametrize("status", [301, 400, 401, 404])
def test_redirects_and_refusals_are_tried_again(status: int):
    assert outcome_of(StatusTold(status), attempt=1, jitter=0) == TryAgain(
        timedelta(seconds=5), f"the endpoint answered {status}", status
    )


def test_pauses_grow_over_about_a_day_and_then_it_is_given_up():
    pauses = []
    for attempt in range(1, len(PAUSES_S) + 1):
        outcome = outcome_of(NotReached("down", 503), attempt=attempt, jitter=0)
        assert isinstance(outcome, TryAgain)
        pauses.append(outcome.pause)
    assert pauses == sorted(pauses)
    assert timedelta(hours=20) < sum(pauses, timedelta()) < timedelta(hours=26)
    assert outcome_of(NotReached("down", 503), attempt=len(PAUSES_S) + 1, jitter=0) == GaveUp("down", 503)


def test_chance_spreads_retries_by_a_fifth():
    outcome = outcome_of(NotReached("down"), attempt=1, jitter=1)
    assert isinstance(outcome, TryAgain)
    assert outcome.pause == timedelta(seconds=6)


def test_each_valid_secret_signs_and_a_stranger_does_not_verify():
    old, new, stranger = (new_secret_text() for _ in range(3))
    attempt = an_attempt(new, old)
    headers = headers_of(attempt, datetime.now(UTC))
    for secret in (old, new):
        assert Webhook(secret).verify(attempt.body.encode(), headers) == {"type": "é"}
    with pytest.raises(WebhookVerificationError):
        Webhook(stranger).verify(attempt.body.encode(), headers)


def test_attempts_differ_while_the_alert_stays_the_same():
    first = an_attempt(new_secret_text())
    second = replace(first, number=2)
    one, two = headers_of(first, NOON), headers_of(second, NOON)
    assert one["webhook-id"] == two["webhook-id"]
    assert one["twintally-delivery-id"] != two["twintally-delivery-id"]


def test_the_payload_carries_the_whole_case_and_no_clock():
    sighting = Sighting(
        sighting_id="s1",
        reference_id="ref-1",
        media_digest=DIGEST,
        media_url="https://cdn.example/1.jpg",
        score=0.9,
        region=(1, 2, 30, 40),
        transform=((1, 0, 0), (0, 1, 0), (0, 0, 1)),
        description="mirrored",
        algorithm="v1",
        disclosure=Disclosure(c2pa="valid", c2pa_source_type="trainedAlgorithmicMedia"),
        platform_label=False,
        covered_share=0.12,
    )
    found = InfringementState(
        use_id="use-1", revision=4, occurred_at=NOON, verdict="out_of_scope",
        reasons=(Reason(dimension="territory", text="shown in FR", media_digest=DIGEST),),
        platform="instagram", post_id="p1", account="brand.fr", twin_id="twin-1", talent_id="talent-1",
        agency_id="agency-1", brand_id="brand-1", license_id="lic-1", license_version=2, started_at=NOON,
        sightings=(sighting,),
    )  # fmt: skip
    news = News("changed", 2, found)
    told = json.loads(body_of(news))
    assert body_of(news) == body_of(news)
    assert told["type"] == "infringement.changed"
    assert told["timestamp"] == "2026-11-03T12:00:00Z"
    assert told["data"] == {
        "use_id": "use-1",
        "sequence": 2,
        "livemode": True,
        "backfill": False,
        "verdict": "out_of_scope",
        "reasons": [{"dimension": "territory", "text": "shown in FR", "media_digest": DIGEST}],
        "post": {"platform": "instagram", "post_id": "p1", "account": "brand.fr"},
        "twin_id": "twin-1",
        "talent_id": "talent-1",
        "brand_id": "brand-1",
        "license": {"license_id": "lic-1", "version": 2},
        "started_at": "2026-11-03T12:00:00Z",
        "ended_at": None,
        "sightings": [
            {
                "sighting_id": "s1",
                "reference_id": "ref-1",
                "score": 0.9,
                "region": [1.0, 2.0, 30.0, 40.0],
                "description": "mirrored",
                "algorithm": "v1",
                "covered_share": 0.12,
                "disclosure": {
                    "c2pa": "valid",
                    "c2pa_source_type": "trainedAlgorithmicMedia",
                    "xmp_source_type": None,
                },
                "platform_label": False,
                "media": {
                    "digest": DIGEST,
                    "url": "https://cdn.example/1.jpg",
                    "evidence": f"evidence/ab/{'ab' * 32}",
                },
            }
        ],
    }
