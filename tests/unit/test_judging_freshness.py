"""When judging may accuse."""

import math
from datetime import timedelta

from services.judging.freshness import Freshness, Progress, why_not_fresh
from shared.events import Watermark
from tests.builders import NOON


def a_watermark(service: str = "registry", *, revision: int = 1, age_s: float = 1.0, end: int = 5) -> Watermark:
    return Watermark(
        service=service,
        revision=revision,
        occurred_at=NOON - timedelta(seconds=age_s),
        end_offsets={"licenses.v1": {0: end}},
    )


YOUNG = a_watermark()


def problem(*, read=True, watermark: Watermark | None = YOUNG, learnt=True) -> str | None:
    return why_not_fresh(Progress(read, watermark, learnt), NOON)


class Reader:
    def __init__(self, position: int, *, caught_up: bool = True) -> None:
        self.position = position
        self.whole = caught_up

    def caught_up(self, within_s) -> bool:
        return self.whole

    def behind_s(self) -> float:
        return 0.5 if self.whole else 90.0

    def has_learnt(self, end_offsets) -> bool:
        return all(self.position >= end for ends in end_offsets.values() for end in ends.values())


def test_fresh_when_read_to_a_young_watermark():
    assert problem() is None


def test_not_while_something_is_unread():
    assert "not read to their end" in (problem(read=False) or "")


def test_not_without_a_watermark():
    assert "no watermark" in (problem(watermark=None) or "")


def test_not_when_the_watermark_is_five_seconds_old():
    assert problem(watermark=a_watermark(age_s=4.99)) is None
    assert "5 s old" in (problem(watermark=a_watermark(age_s=5.0)) or "")


def test_not_when_the_clocks_differ():
    assert "ahead" in (problem(watermark=a_watermark(age_s=-5.0)) or "")


def test_not_before_the_watermark_is_learnt():
    assert "not learnt" in (problem(learnt=False) or "")


def freshness(*watermarks: Watermark, reader: Reader) -> Freshness:
    asked = Freshness(lambda: NOON)
    asked.follow(reader)
    for watermark in watermarks:
        asked.learn(watermark)
    return asked


def test_the_reader_is_asked_anew_each_time():
    reader = Reader(4)
    asked = freshness(a_watermark(end=5), reader=reader)
    assert asked.problem() is not None
    reader.position = 5
    assert asked.problem() is None


def test_a_clock_that_ran_an_hour_ahead_stops_accusations_no_longer_than_until_it_is_right():
    asked = freshness(a_watermark(revision=3_600_002, age_s=-3600), reader=Reader(5))
    assert "3600 s ahead" in (asked.problem() or "")
    asked.learn(a_watermark(revision=3))
    assert asked.problem() is None


def test_a_watermark_that_comes_late_claims_less_and_the_next_one_makes_up_for_it():
    asked = freshness(a_watermark(revision=2), a_watermark(revision=1, age_s=60), reader=Reader(5))
    assert "60 s old" in (asked.problem() or "")
    asked.learn(a_watermark(revision=3, age_s=0.5))
    assert asked.problem() is None


def test_watermarks_of_other_services_say_nothing():
    assert freshness(a_watermark("matching"), reader=Reader(5)).problem() is not None


def test_what_is_known_is_as_old_as_the_last_watermark_that_was_learnt():
    reader = Reader(5)
    asked = freshness(a_watermark(age_s=3, end=5), reader=reader)
    assert asked.age_s() == 3
    asked.learn(a_watermark(revision=2, age_s=1, end=6))
    assert asked.age_s() == 3
    reader.position = 6
    assert asked.age_s() == 1


def test_what_is_known_is_as_old_as_the_reader_when_that_is_further_behind():
    assert freshness(a_watermark(age_s=3), reader=Reader(5, caught_up=False)).age_s() == 90


def test_before_anything_was_whole_its_age_is_infinite():
    assert Freshness(lambda: NOON).age_s() == math.inf
    assert freshness(reader=Reader(5)).age_s() == math.inf
    assert freshness(a_watermark(end=5), reader=Reader(4)).age_s() == math.inf
