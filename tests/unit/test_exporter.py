"""How far a group is behind, and what the exporter says while its broker does not answer."""

import asyncio
from typing import Any

from aiokafka import TopicPartition
from aiokafka.errors import KafkaConnectionError
from prometheus_client import REGISTRY

from infra.exporter.lag import Progress, Seen, oldest_s, reached
from infra.exporter.looking import Looking

ONE, OTHER = TopicPartition("posts.v1", 0), TopicPartition("posts.v1", 1)


def progress(part: TopicPartition = ONE, oldest_ms: int | None = None, group: str = "matching") -> Progress:
    return Progress(group, part, confirmed=10, end=10 if oldest_ms is None else 15, oldest_ms=oldest_ms)


def test_a_group_goes_on_where_it_confirmed() -> None:
    assert reached(7, begin=0, end=10) == 7
    assert reached(10, begin=0, end=10) == 10


def test_a_group_that_has_confirmed_nothing_or_what_is_gone_goes_on_at_the_beginning() -> None:
    assert reached(None, begin=3, end=10) == 3
    assert reached(-1, begin=3, end=10) == 3
    assert reached(2, begin=3, end=10) == 3
    # The topic was made anew.
    assert reached(500, begin=0, end=10) == 0


def test_a_group_is_as_old_as_its_oldest_partition_and_0_without_lag() -> None:
    both = [progress(ONE, oldest_ms=90_000), progress(OTHER, oldest_ms=40_000), progress(group="alerts")]
    assert oldest_s(both, now_s=100.0) == {"matching": 60.0, "alerts": 0.0}


def test_a_record_from_a_clock_that_is_ahead_has_no_negative_age() -> None:
    assert oldest_s([progress(oldest_ms=200_000)], now_s=100.0) == {"matching": 0.0}


class Answering:
    """A broker that is away, then there, then away again."""

    def __init__(self) -> None:
        self.answers: list[Seen | Exception] = []
        self.closed = 0

    async def look(self) -> Seen:
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def close(self) -> None:
        self.closed += 1


def value(name: str, **labels: Any) -> float | None:
    return REGISTRY.get_sample_value(name, labels)


async def test_while_the_broker_is_away_it_says_so_keeps_its_numbers_and_goes_on() -> None:
    broker = Answering()
    looking = Looking(broker, pause_s=0.01)  # type: ignore[arg-type]
    assert looking.problem() == "the broker has not been asked yet"
    seen = Seen((progress(oldest_ms=1),), {"posts.v1.dlq": 3})
    broker.answers = [KafkaConnectionError("refused"), seen]
    await looking._look()
    assert looking.problem() == "the numbers are old; asking the broker ended with KafkaConnectionError: refused"
    await looking._look()
    assert looking.problem() is None
    assert value("twintally_consumer_lag", group="matching", topic="posts.v1", partition="0") == 5
    assert value("twintally_dead_letter_records", topic="posts.v1.dlq") == 3
    looked_at = value("twintally_exporter_looked_timestamp_seconds")
    await asyncio.sleep(0.01)
    broker.answers = [TimeoutError(), seen]
    await looking._look()
    assert "TimeoutError" in str(looking.problem())
    assert value("twintally_exporter_looked_timestamp_seconds") == looked_at
    assert value("twintally_consumer_lag", group="matching", topic="posts.v1", partition="0") == 5
    await looking._look()
    assert looking.problem() is None
    assert broker.closed == 2
