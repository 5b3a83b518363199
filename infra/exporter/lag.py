"""What a look at the broker finds, as values."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from aiokafka import TopicPartition


@dataclass(frozen=True)
class Progress:
    """How far one group is in one partition; `oldest_ms` is the time of the first record that is not confirmed."""

    group: str
    part: TopicPartition
    confirmed: int
    end: int
    oldest_ms: int | None = None

    @property
    def lag(self) -> int:
        """How many records are not confirmed; compaction may have removed some of them."""
        return self.end - self.confirmed


@dataclass(frozen=True)
class Seen:
    """Every group's progress, and the number of records in each dead-letter topic."""

    progress: tuple[Progress, ...]
    dead_letters: Mapping[str, int]


def reached(committed: int | None, *, begin: int, end: int) -> int:
    """Where a group goes on: where it confirmed, or at the beginning, as our consumers do, when that is no place."""
    return committed if committed is not None and begin <= committed <= end else begin


def oldest_s(progress: Iterable[Progress], *, now_s: float) -> dict[str, float]:
    """The age of each group's oldest unconfirmed record; 0 for a group that has confirmed all."""
    ages: dict[str, float] = {}
    for each in progress:
        age = 0.0 if each.oldest_ms is None else max(0.0, now_s - each.oldest_ms / 1000)
        ages[each.group] = max(age, ages.get(each.group, 0.0))
    return ages
