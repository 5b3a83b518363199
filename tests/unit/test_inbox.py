"""The inbox of raw bodies: what comes together lies together, as it came."""

import asyncio
from datetime import UTC, datetime, timedelta

from obstore.store import MemoryStore

from services.intake.domain import Webhook
from services.intake.signatures import PlatformSecret
from services.intake.store import ObjectInbox
from tests.inbox import webhooks_in

NOW = datetime(2026, 11, 24, 23, 59, 59, 999_000, tzinfo=UTC)


def a_webhook(number: int, *, platform: str = "instagram", at: datetime = NOW) -> Webhook:
    # Bodies are bytes of any kind: also ends of lines, and what looks like the line of another one.
    body = b'{"body_bytes": 3}\n' + bytes([number]) * number
    return Webhook(platform, {"webhook-id": f"m{number}", "authorization": "secret"}, body, at)


def a_secret(platform: str = "instagram") -> PlatformSecret:
    return PlatformSecret(f"of-{platform}", platform, True, "whsec_x", NOW)


async def test_what_comes_at_the_same_moment_lies_in_few_files_as_it_came() -> None:
    store = MemoryStore()
    inbox = ObjectInbox(store)
    came = [a_webhook(number) for number in range(60)]
    await asyncio.gather(*(inbox.keep(each, a_secret(), {}) for each in came))
    files = [each["path"] for batch in store.list() for each in batch]
    assert len(files) <= 3
    kept = {about["webhook-id"]: raw for path in files for about, raw in webhooks_in(bytes(store.get(path).bytes()))}
    assert kept == {each.headers["webhook-id"]: each.body for each in came}


async def test_files_are_found_by_day_and_platform() -> None:
    store = MemoryStore()
    inbox = ObjectInbox(store)
    await inbox.keep(a_webhook(1), a_secret(), {})
    await inbox.keep(a_webhook(2, at=NOW + timedelta(seconds=1)), a_secret(), {})
    await inbox.keep(a_webhook(3, platform="tiktok"), a_secret("tiktok"), {"ab" * 32: b"image"})
    folders = sorted(each["path"].rpartition("/")[0] for batch in store.list() for each in batch)
    assert folders == [
        "inbox/2026-11-24/instagram",
        "inbox/2026-11-24/tiktok",
        "inbox/2026-11-25/instagram",
        "inbox/uploads/tiktok",
    ]


async def test_of_the_request_only_what_signed_it_is_noted() -> None:
    store = MemoryStore()
    await ObjectInbox(store).keep(a_webhook(1), a_secret(), {})
    [path] = [each["path"] for batch in store.list() for each in batch]
    [(about, _)] = webhooks_in(bytes(store.get(path).bytes()))
    assert about == {
        "received_at": NOW.isoformat(),
        "secret_id": "of-instagram",
        "body_bytes": 19,
        "webhook-id": "m1",
    }
