"""Promise 5: whether the lookup data is fresh enough to accuse somebody."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from shared.events import Watermark

WATERMARK_AGE_MAX = timedelta(seconds=5)
REGISTRY = "registry"


@dataclass(frozen=True)
class Progress:
    """How far the lookup data has been learnt, as of now."""

    read_to_end: bool
    watermark: Watermark | None
    watermark_learnt: bool


def why_not_fresh(progress: Progress, now: datetime) -> str | None:
    """What is missing before anybody may be accused; None when nothing is."""
    if not progress.read_to_end:
        return "the lookup topics are not read to their end"
    if progress.watermark is None:
        return "registry has told no watermark yet"
    age = now - progress.watermark.occurred_at
    if age >= WATERMARK_AGE_MAX:
        return f"registry's last watermark is {age.total_seconds():.0f} s old; is registry running?"
    if age <= -WATERMARK_AGE_MAX:
        return f"registry's clock is {-age.total_seconds():.0f} s ahead of this one"
    if not progress.watermark_learnt:
        return "what registry told is not learnt yet"
    return None


class Reads(Protocol):
    """The reader of the lookup topics."""

    def caught_up(self, within_s: float) -> bool:
        """Has everything been learnt that was there `within_s` ago?"""

    def behind_s(self) -> float:
        """How long ago everything was learnt that was there; infinite before the first time."""

    def has_learnt(self, end_offsets: Mapping[str, Mapping[int, int]]) -> bool:
        """Has everything below these offsets been learnt?"""


class Freshness:
    """The last watermark of registry, held against how far the reader is at the moment of the question."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._reader: Reads | None = None
        self._watermark: Watermark | None = None
        self._learnt_until: datetime | None = None

    def follow(self, reader: Reads) -> None:
        """Ask this reader from now on."""
        self._reader = reader

    def learn(self, watermark: Watermark) -> None:
        """Keep what registry told last.

        Not the highest revision, which is a time: after a clock that ran ahead was set right, the wrong one would stay
        for as long as it had been ahead. One that comes late claims less, and is true as well.
        """
        if watermark.service == REGISTRY:
            self._watermark = watermark

    def age_s(self) -> float:
        """Age of the moment up to which everything is known that was told until then; infinite before the first."""
        reader, watermark = self._reader, self._watermark
        if reader is None:
            return math.inf
        if watermark is not None and reader.has_learnt(watermark.end_offsets):
            self._learnt_until = watermark.occurred_at
        if self._learnt_until is None:
            return math.inf
        return max((self._now() - self._learnt_until).total_seconds(), reader.behind_s())

    def problem(self) -> str | None:
        """Why nobody may be accused now, as far as the reader goes; None when the data is fresh."""
        reader, watermark = self._reader, self._watermark
        progress = Progress(
            read_to_end=reader is not None and reader.caught_up(WATERMARK_AGE_MAX.total_seconds()),
            watermark=watermark,
            watermark_learnt=reader is not None and watermark is not None and reader.has_learnt(watermark.end_offsets),
        )
        return why_not_fresh(progress, self._now())
