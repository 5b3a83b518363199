"""API keys as the other services know them."""

import pytest

from shared.access import AccessDirectory
from shared.events import AccessState, Unreadable
from shared.ids import digest_of
from shared.kafka import Record
from tests.builders import an_access


def record(state: AccessState) -> Record:
    return Record(state.topic.name, 0, 0, state.message_key().encode(), state.encode())


async def test_a_key_that_was_replaced_or_withdrawn_opens_nothing() -> None:
    keys = AccessDirectory()
    await keys.learn([record(an_access(key_hash=digest_of(b"old")))])
    assert await keys.caller_of("old") is not None
    await keys.learn([record(an_access(revision=2, key_hash=digest_of(b"new")))])
    assert await keys.caller_of("old") is None
    assert await keys.caller_of("new") is not None
    await keys.learn([record(an_access(revision=3, key_hash=digest_of(b"new"), status="withdrawn"))])
    assert await keys.caller_of("new") is None


async def test_a_late_repeat_and_a_record_that_cannot_be_read_change_nothing() -> None:
    keys = AccessDirectory()
    await keys.learn([record(an_access(revision=2, key_hash=digest_of(b"new")))])
    await keys.learn([record(an_access(key_hash=digest_of(b"old")))])
    with pytest.raises(Unreadable, match="type"):
        await keys.learn(
            [record(an_access(revision=3)), Record("access.v1", 0, 0, b"k", b'{"specversion": "1.0", "type": []}')]
        )
    assert await keys.caller_of("old") is None
    assert await keys.caller_of("new") is not None


async def test_a_key_whose_withdrawal_was_missed_is_gone_with_its_tombstone() -> None:
    keys = AccessDirectory()
    await keys.learn([record(an_access(key_hash=digest_of(b"secret")))])
    await keys.learn([Record("access.v1", 0, 1, b"key-1", None), Record("access.v1", 0, 2, b"key-unknown", None)])
    assert await keys.caller_of("secret") is None
