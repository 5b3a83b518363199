"""A worker stands still when something waits, the broker says so, and nothing is confirmed for long enough."""

from aiokafka import TopicPartition

from shared.kafka.stall import Look, Standstill, after_look

ONE, OTHER = TopicPartition("posts.v1", 0), TopicPartition("posts.v1", 1)
STEP_MAX_S = 10.0

IDLE = Look()


def waits(confirmed: int = 100, records: int = 5, part: TopicPartition = ONE) -> Look:
    return Look({part: confirmed}, {part: records})


def lasts_s(*looks: tuple[float, Look | None]) -> float:
    """How long the standstill lasts after looks at these seconds."""
    still = Standstill()
    for at, look in looks:
        still = after_look(still, look, at=at, step_max_s=STEP_MAX_S)
    return still.lasts_s


def test_time_counts_while_something_waits_and_nothing_is_confirmed() -> None:
    assert lasts_s((0, waits()), (5, waits()), (10, waits(records=9)), (15, waits(records=9))) == 15


def test_the_first_look_that_sees_something_wait_begins_the_count() -> None:
    assert lasts_s((0, waits())) == 0
    assert lasts_s((0, IDLE), (5, waits())) == 0
    assert lasts_s((0, IDLE), (5, waits()), (10, waits())) == 5


def test_any_confirmation_begins_the_count_anew() -> None:
    assert lasts_s((0, waits(100)), (5, waits(100)), (10, waits(101)), (13, waits(101))) == 3


def test_a_confirmation_of_another_partition_shows_that_the_worker_moves() -> None:
    before = Look({ONE: 100, OTHER: 7}, {ONE: 5})
    after = Look({ONE: 100, OTHER: 8}, {ONE: 5})
    assert lasts_s((0, before), (5, after)) == 0


def test_the_first_confirmation_of_a_partition_counts_too() -> None:
    assert lasts_s((0, Look({}, {ONE: 5})), (5, Look({}, {ONE: 5})), (10, waits(1))) == 0


def test_a_partition_that_was_taken_away_is_no_confirmation() -> None:
    both = Look({ONE: 100, OTHER: 7}, {ONE: 5})
    assert lasts_s((0, both), (5, Look({ONE: 100}, {ONE: 5})), (10, Look({ONE: 100}, {ONE: 5}))) == 10


def test_a_worker_that_has_caught_up_or_has_no_partitions_does_not_stand_still() -> None:
    assert lasts_s((0, waits()), (5, waits()), (10, IDLE)) == 0
    assert lasts_s((0, waits()), (5, waits()), (10, Look({ONE: 100}))) == 0


def test_while_the_broker_does_not_answer_nothing_is_known_and_nothing_counts() -> None:
    assert lasts_s((0, waits()), (5, waits()), (10, None)) == 0
    assert lasts_s((0, waits()), (5, None), (100, None), (105, waits()), (108, waits())) == 3


def test_a_process_that_was_paused_has_not_stood_still_meanwhile() -> None:
    assert lasts_s((0, waits()), (3_600, waits())) == STEP_MAX_S
