"""The inbox of raw bodies: what comes together lies together, as it came."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from obstore.store import MemoryStore

from services.intake.domain import Delivery, Webhook
from services.intake.store import ObjectInbox
from tests.inbox import webhooks_in

NOW = datetime(2026, 11, 24, 23, 59, 59, 999_000, tzinfo=UTC)


def a_delivery(
    number: int, *, platform: str = "instagram", at: datetime = NOW, uploads: Mapping[str, bytes] | None = None
) -> Delivery:
    # Bodies are bytes of any kind: also ends of lines, and what looks like the line of another one.
    body = b'{"body_bytes": 3}\n' + bytes([number]) * number
    webhook = Webhook(platform, {"webhook-id": f"m{number}", "authorization": "secret"}, body, at)
    return Delivery(webhook, f"of-{platform}", [], uploads or {})


async def test_what_comes_together_lies_in_one_file_as_it_came() -> None:
    store = MemoryStore()
    came = [a_delivery(number) for number in range(60)]
    await ObjectInbox(store).keep(came)
    [path] = [each["path"] for batch in store.list() for each in batch]
    kept = {about["webhook-id"]: raw for about, raw in webhooks_in(bytes(store.get(path).bytes()))}
    assert kept == {each.webhook.headers["webhook-id"]: each.webhook.body for each in came}


async def test_files_are_found_by_day_and_platform() -> None:
    store = MemoryStore()
    inbox = ObjectInbox(store)
    await inbox.keep([a_delivery(1), a_delivery(3, platform="tiktok", uploads={"ab" * 32: b"image"})])
    await inbox.keep([a_delivery(2, at=NOW + timedelta(seconds=1))])
    folders = sorted(each["path"].rpartition("/")[0] for batch in store.list() for each in batch)
    assert folders == [
        "inbox/2026-11-24/instagram",
        "inbox/2026-11-24/tiktok",
        "inbox/2026-11-25/instagram",
        "inbox/uploads/tiktok",
    ]


async def test_of_the_request_only_what_signed_it_is_noted() -> None:
    store = MemoryStore()
    await ObjectInbox(store).keep([a_delivery(1)])
    [path] = [each["path"] for batch in store.list() for each in batch]
    [(about, _)] = webhooks_in(bytes(store.get(path).bytes()))
    assert about == {
        "received_at": NOW.isoformat(),
        "secret_id": "of-instagram",
        "body_bytes": 19,
        "webhook-id": "m1",
    }
