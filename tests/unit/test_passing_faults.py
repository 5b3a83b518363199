"""What the database does to a transaction without its fault is tried again, never a dead letter."""

from collections.abc import Sequence

import psycopg
import pytest

from shared.kafka import Record
from shared.kafka.batches import Patience, work_batch


class NoLetters:
    async def keep(self, record: Record, *, error: BaseException, attempts: int) -> None:
        raise AssertionError(f"not expected: {error!r}") from error


@pytest.mark.parametrize(
    "fault",
    [
        psycopg.errors.DeadlockDetected,
        psycopg.errors.SerializationFailure,
        psycopg.errors.LockNotAvailable,
        psycopg.errors.QueryCanceled,
        psycopg.errors.AdminShutdown,
    ],
)
async def test_a_transaction_that_the_database_gave_up_is_tried_again(fault: type[psycopg.Error]) -> None:
    tries = 0

    async def effect(records: Sequence[Record]) -> None:
        nonlocal tries
        tries += 1
        if tries < 3:
            raise fault("of another transaction's making")

    records = [Record("t", 0, 0, b"k", b"v")]
    assert await work_batch(records, effect, NoLetters(), Patience(first_pause_s=0.0)) == 0
    assert tries == 3
