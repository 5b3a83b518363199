"""What a webhook says, who signed it, and what intake answers; the order of effects."""

import base64
import hashlib
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from standardwebhooks import Webhook as Signer

from services.intake import handlers
from services.intake.domain import Delivery, ItemResult, Malformed, Marked, Outcome, Parsed, Refused, Webhook, status_of
from services.intake.generic import parse
from services.intake.handlers import NotSigned, Parts, UnknownPlatform, take_in, verify
from services.intake.signatures import PlatformSecret, new_secret_text, signer_of
from shared.events import PostFact, PostPublished

NOW = datetime.now(UTC)
SECRET = new_secret_text()
UPLOAD_BYTES_MAX = 1000


def told(**changes: Any) -> dict[str, Any]:
    post = {"account": "acme", "media": [{"url": "https://i.example/1.jpg"}]}
    return {"type": "post.published", "post_id": "p1", "occurred_at": NOW.isoformat(), "post": post, **changes}


def read(body: bytes) -> Parsed | Malformed:
    return parse(Webhook("instagram", {}, body, NOW), livemode=True, upload_bytes_max=UPLOAD_BYTES_MAX)


def parsed(value: object) -> list[Any]:
    whole = read(json.dumps(value).encode())
    assert isinstance(whole, Parsed)
    return list(whole.items)


def showing(*media: Any, **changes: Any) -> dict[str, Any]:
    return told(post={"account": "acme", "media": list(media)}, **changes)


def uploaded(image: bytes) -> dict[str, str]:
    return {"image_base64": base64.b64encode(image).decode()}


def a_secret(**changes: Any) -> PlatformSecret:
    fields: dict[str, Any] = {"secret_id": "s1", "platform": "instagram", "livemode": True, "text": SECRET}
    return PlatformSecret(**{**fields, "created_at": NOW, **changes})


def signed(body: bytes, *, secret: str = SECRET, at: datetime | None = None) -> dict[str, str]:
    at = at or datetime.now(UTC)
    signature = Signer(secret).sign("msg_1", at, body.decode())
    return {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": signature,
    }


def test_one_event_becomes_one_fact() -> None:
    [fact] = parsed(told())
    assert isinstance(fact, PostPublished)
    assert (fact.platform, fact.post_id, fact.time_doubtful) == ("instagram", "p1", False)


def test_a_batch_gives_an_answer_per_item_in_order() -> None:
    good, bad = parsed({"items": [told(), told(occurred_at="yesterday")]})
    assert isinstance(good, PostFact)
    assert isinstance(bad, Refused)
    assert "occurred_at" in bad.problems[0]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"post_id": ""}, "post_id"),
        ({"occurred_at": "2026-01-01T00:00:00"}, "occurred_at"),
        ({"post": {"account": "acme", "media": []}}, "media"),
        ({"post": {"account": "acme", "media": [{"url": "ftp://i.example"}]}}, "url"),
        ({"type": "post.liked"}, "post.liked"),
        ({"moood": 1}, "moood"),
    ],
)
def test_a_wrong_item_names_its_field(change: dict[str, Any], named: str) -> None:
    [refused] = parsed(told(**change))
    assert isinstance(refused, Refused)
    assert named in " ".join(refused.problems)


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[" * 100_000])
def test_a_body_that_is_not_json_is_malformed(body: bytes) -> None:
    assert isinstance(read(body), Malformed)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ([], 'body: must be a JSON object, one event or {"items": [...]}; got a list of 0'),
        ("post", "got a string"),
        (True, "got true or false"),
        ({"items": []}, "items: must be a list of 1 to 500 events; got a list of 0"),
        ({"items": [{}] * 501}, "got a list of 501"),
        ({"items": 3}, "got a number"),
        ({"items": None}, "got null"),
        ({"items": {}}, "got an object"),
    ],
)
def test_json_that_is_no_webhook_is_refused_by_field(body: object, said: str) -> None:
    [refused] = parsed(body)
    assert isinstance(refused, Refused)
    assert said in refused.problems[0]


def test_an_uploaded_image_becomes_its_digest_and_nothing_else_tells_the_fact() -> None:
    whole = read(json.dumps(showing(uploaded(b"image"), {"url": "https://i.example/1.jpg"})).encode())
    assert isinstance(whole, Parsed)
    sha256 = hashlib.sha256(b"image").hexdigest()
    assert whole.uploads == {sha256: b"image"}
    [fact] = whole.items
    assert isinstance(fact, PostPublished)
    assert [(item.url, item.upload_sha256) for item in fact.post.media] == [
        (None, sha256),
        ("https://i.example/1.jpg", None),
    ]
    assert b"image_base64" not in fact.encode()
    again, other = parsed(
        {"items": [showing(uploaded(b"image"), {"url": "https://i.example/1.jpg"}), showing(uploaded(b"x"))]}
    )
    assert again.event_id() == fact.event_id() != other.event_id()


@pytest.mark.parametrize(
    ("item", "said"),
    [
        ({}, "media.1: needs exactly one of url and image_base64; got neither"),
        ({"upload_sha256": "0" * 64}, "media.1: needs exactly one of url and image_base64; got neither"),
        ({"url": "https://i.example/1.jpg", **uploaded(b"x")}, "media.1: needs exactly one"),
        ({"image_base64": 7}, "media.1.image_base64: must be a string"),
        ({"image_base64": ""}, "media.1.image_base64: holds no image"),
        ({"image_base64": "data:image/png;base64,AAAA"}, "media.1.image_base64: must be standard base64"),
        ({"image_base64": "ÄÖÜ="}, "media.1.image_base64: must be standard base64"),
        (uploaded(bytes(UPLOAD_BYTES_MAX + 1)), "media.1.image_base64: the image has 1001 bytes, more than 1000"),
        (7, "media.1"),
    ],
)
def test_a_wrong_media_item_is_named_beside_other_wrong_fields(item: Any, said: str) -> None:
    whole = read(json.dumps(showing(uploaded(b"image"), item, post_id="")).encode())
    assert isinstance(whole, Parsed)
    assert whole.uploads == {}
    [refused] = whole.items
    assert isinstance(refused, Refused)
    assert any(said in problem for problem in refused.problems)
    assert any("post_id" in problem for problem in refused.problems)
    assert not any("upload_sha256" in problem for problem in refused.problems)


def test_an_upload_may_be_as_large_as_the_limit_and_posts_show_twenty_images() -> None:
    assert isinstance(parsed(showing(uploaded(bytes(UPLOAD_BYTES_MAX))))[0], PostFact)
    assert isinstance(parsed(showing(*[uploaded(b"x")] * 20))[0], PostFact)
    [refused] = parsed(showing(*[uploaded(b"x")] * 21))
    assert isinstance(refused, Refused)
    assert "media" in refused.problems[0]


def test_a_category_that_no_database_takes_is_refused() -> None:
    [refused] = parsed(told(post={"account": "a", "media": [{"url": "https://i.example/1"}], "product_category": "\0"}))
    assert isinstance(refused, Refused)


@pytest.mark.parametrize(
    ("occurred_at", "backfill", "doubtful"),
    [
        (NOW + timedelta(minutes=4), False, False),
        (NOW + timedelta(minutes=6), False, True),
        (NOW - timedelta(days=8), False, True),
        (NOW - timedelta(days=8), True, False),
    ],
)
def test_a_time_that_cannot_be_trusted_is_kept_and_flagged(
    occurred_at: datetime, backfill: bool, doubtful: bool
) -> None:
    [fact] = parsed(told(occurred_at=occurred_at.isoformat(), backfill=backfill))
    assert fact.time_doubtful is doubtful


def test_the_bytes_as_they_came_verify_and_no_others() -> None:
    body = json.dumps(told()).encode()
    assert signer_of(body, signed(body), [a_secret()], NOW) == a_secret()
    assert signer_of(body + b" ", signed(body), [a_secret()], NOW) is None


def test_both_secrets_work_while_one_is_rotated_in() -> None:
    body, new = b"{}", a_secret(secret_id="s2", text=new_secret_text())
    old = a_secret(expires_at=NOW + timedelta(hours=1))
    for secret in (old, new):
        assert signer_of(body, signed(body, secret=secret.text), [new, old], NOW) == secret


def test_an_expired_or_revoked_secret_does_not_sign() -> None:
    body = b"{}"
    for gone in (a_secret(expires_at=NOW), a_secret(revoked_at=NOW - timedelta(days=1))):
        assert signer_of(body, signed(body), [gone], NOW) is None


@pytest.mark.parametrize("minutes", [-6, 6])
def test_a_signature_of_another_time_is_refused(minutes: int) -> None:
    body, at = b"{}", datetime.now(UTC) + timedelta(minutes=minutes)
    assert signer_of(body, signed(body, at=at), [a_secret()], NOW) is None


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"webhook-id": "m", "webhook-timestamp": "x", "webhook-signature": "v1,x"},
        {"webhook-id": "m", "webhook-timestamp": str(int(NOW.timestamp())), "webhook-signature": "garbage"},
        {"webhook-id": "m", "webhook-timestamp": "9" * 400, "webhook-signature": "v1,x"},
    ],
)
def test_garbage_for_a_signature_is_refused_never_a_crash(headers: dict[str, str]) -> None:
    assert signer_of(b"{}", headers, [a_secret()], NOW) is None
    assert signer_of(b"\xff", headers, [a_secret()], NOW) is None


@pytest.mark.parametrize(
    ("outcomes", "status"),
    [
        ([Outcome.ACCEPTED], 202),
        ([Outcome.DUPLICATE], 202),
        ([Outcome.INVALID, Outcome.ACCEPTED, Outcome.NOT_SENT], 202),
        ([Outcome.INVALID], 422),
        ([Outcome.INVALID, Outcome.NOT_SENT], 503),
        ([Outcome.NOT_SENT], 503),
        ([Outcome.DUPLICATE, Outcome.NOT_SENT], 503),
    ],
)
def test_the_status_says_what_the_platform_should_do(outcomes: list[Outcome], status: int) -> None:
    assert status_of([ItemResult(outcome) for outcome in outcomes]) == status


class Diary:
    """Every part of taking in, in memory; writes down what happens in which order."""

    def __init__(self, *, broker: bool = True) -> None:
        self.broker = broker
        self.happened: list[str] = []
        self.marked: set[str] = set()
        self.uploads: dict[str, bytes] = {}

    @property
    def parts(self) -> Parts:
        return Parts(secrets=self, inbox=self, marks=self, stream=self)

    async def of_platform(self, platform: str) -> Sequence[PlatformSecret] | None:
        return [a_secret()] if platform == "instagram" else None

    async def keep(self, several: Sequence[Delivery]) -> None:
        self.happened += ["kept"] * len(several)
        for each in several:
            self.uploads |= each.uploads

    async def known(self, event_ids: Sequence[str]) -> set[str]:
        return set(event_ids) & self.marked

    async def remember(self, event_ids: Sequence[str]) -> None:
        self.happened.append("marked")
        self.marked |= set(event_ids)

    async def send(self, several: Sequence[Marked]) -> Sequence[bool]:
        self.happened += ["sent"] * len(several)
        return [self.broker] * len(several)


def webhook(value: object, *, platform: str = "instagram") -> Webhook:
    body = json.dumps(value).encode()
    return Webhook(platform, signed(body), body, datetime.now(UTC))


async def taken(diary: Diary, value: object) -> tuple[ItemResult, ...]:
    sent = webhook(value)
    secret = await verify(sent, diary.parts)
    assert isinstance(secret, PlatformSecret)
    [results] = await take_in([read_whole(sent, secret)], diary.parts)
    return results


def read_whole(sent: Webhook, secret: PlatformSecret) -> Delivery:
    delivery = handlers.read(sent, secret, upload_bytes_max=UPLOAD_BYTES_MAX)
    assert isinstance(delivery, Delivery)
    return delivery


async def test_a_webhook_is_kept_then_sent_then_marked() -> None:
    diary = Diary()
    [result] = await taken(diary, told())
    assert result.outcome is Outcome.ACCEPTED
    assert diary.happened == ["kept", "sent", "marked"]


async def test_of_webhooks_that_come_together_each_is_answered_and_the_same_fact_is_sent_once() -> None:
    diary = Diary()
    await taken(diary, told(post_id="known"))
    diary.happened.clear()
    same = told(post_id="twice")
    bodies = [same, told(post_id="known"), {"items": [same, told(post_id="new"), {"type": "nonsense"}]}]
    answers = await take_in([read_whole(webhook(body), a_secret()) for body in bodies], diary.parts)
    assert [[result.outcome.value for result in results] for results in answers] == [
        ["accepted"],
        ["duplicate"],
        ["duplicate", "accepted", "invalid"],
    ]
    assert diary.happened == ["kept", "kept", "sent", "sent", "marked"]


async def test_a_repeat_is_a_duplicate_and_is_not_sent_again() -> None:
    diary = Diary()
    await taken(diary, told())
    [result] = await taken(diary, told())
    assert result.outcome is Outcome.DUPLICATE
    assert diary.happened.count("sent") == 1


async def test_the_same_fact_twice_in_a_batch_is_sent_once() -> None:
    diary = Diary()
    first, second = await taken(diary, {"items": [told(), told()]})
    assert (first.outcome, second.outcome) == (Outcome.ACCEPTED, Outcome.DUPLICATE)
    assert diary.happened.count("sent") == 1


async def test_what_is_twice_in_a_batch_and_was_not_sent_is_no_duplicate() -> None:
    results = await taken(Diary(broker=False), {"items": [told(), told()]})
    assert [result.outcome for result in results] == [Outcome.NOT_SENT, Outcome.NOT_SENT]
    assert status_of(results) == 503


async def test_only_images_of_valid_items_are_kept_and_before_anything_is_sent() -> None:
    diary = Diary()
    await taken(diary, {"items": [showing(uploaded(b"good")), showing(uploaded(b"bad"), post_id="")]})
    assert list(diary.uploads.values()) == [b"good"]
    assert diary.happened == ["kept", "sent", "marked"]


async def test_a_copy_that_says_that_it_is_live_gets_through_after_one_that_did_not() -> None:
    diary = Diary()
    await taken(diary, told(backfill=True))
    [live] = await taken(diary, told())
    [again] = await taken(diary, told(backfill=True))
    assert (live.outcome, again.outcome) == (Outcome.ACCEPTED, Outcome.DUPLICATE)


async def test_what_the_broker_did_not_acknowledge_is_not_marked() -> None:
    diary = Diary(broker=False)
    [result] = await taken(diary, told())
    assert result.outcome is Outcome.NOT_SENT
    assert diary.happened == ["kept", "sent"]


async def test_nobody_unknown_or_unsigned_comes_in() -> None:
    diary = Diary()
    assert await verify(webhook(told(), platform="nowhere"), diary.parts) == UnknownPlatform()
    forged = Webhook("instagram", {}, b"{}", NOW)
    assert await verify(forged, diary.parts) == NotSigned()
    assert diary.happened == []
