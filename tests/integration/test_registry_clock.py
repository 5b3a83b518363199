"""Registry says when its clock and its database's differ: dates that callers leave out are set by its own."""

from datetime import UTC, datetime, timedelta

import pytest

from services.registry.clock import ClockWatch
from shared.database import Database
from tests.conftest import Parts


@pytest.mark.parametrize(
    ("wrong_by", "told"),
    [
        (timedelta(), None),
        (timedelta(seconds=50), None),
        (timedelta(hours=1), "s ahead of the database's"),
        (timedelta(hours=-1), "s behind the database's"),
    ],
)
async def test_a_clock_that_differs_by_more_than_a_minute_is_told(
    stack: Parts, wrong_by: timedelta, told: str | None
) -> None:
    database = Database(stack.database_for("registry_api"), "registry")
    await database.open()
    try:
        watch = ClockWatch(database, lambda: datetime.now(UTC) + wrong_by)
        assert watch.problem() is None
        await watch.look()
        problem = watch.problem()
    finally:
        await database.close()
    assert problem is None if told is None else told in (problem or "")
