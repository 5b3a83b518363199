"""The bench: what is computed from samples, what is planned, and what is read of processes."""

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

import pytest
import typer
from rich.console import Console

from infra.bench import cast, path, report
from infra.bench.drawing import big_pool, small_pool
from infra.bench.outside import with_comment
from infra.bench.playing import Failed
from infra.bench.posts import Told, ids_of, item_of, plan, told_of, with_readings
from infra.bench.proc import Spent, parse_times, trees_of
from infra.bench.rehearsal import Pools
from infra.bench.samples import growth, is_flat, latencies, median_ratio, per_thousand, percentile
from infra.bench.sizes import PHASES, Sizes
from infra.demo.pictures import from_jpeg, to_jpeg
from infra.demo.pictures.shapes import plain
from services.intake.domain import Webhook as Received
from services.intake.generic import parse
from shared.events import PostFact

SIZES = Sizes(
    references=40,
    pictures=20,
    seconds=10,
    per_s=5,
    twin_share=0.3,
    saturate_posts=40,
    growth_posts=100,
    growth_image_share=0.3,
    workers=(1, 2),
    worker_posts=40,
    rounds=1,
    round_s=1,
    connections=4,
    phases=PHASES,
)


def test_a_percentile_is_the_smallest_value_that_its_share_does_not_exceed():
    hundred = [float(number) for number in range(100, 0, -1)]
    assert percentile(hundred, 0.5) == 50
    assert percentile(hundred, 0.99) == 99
    assert percentile(hundred, 1.0) == 100
    assert percentile([7.0], 0.01) == 7.0


@pytest.mark.parametrize(("values", "share"), [([], 0.5), ([1.0], 0.0), ([1.0], 1.1)])
def test_a_percentile_of_nothing_is_refused(values: Sequence[float], share: float):
    with pytest.raises(ValueError, match="got"):
        percentile(values, share)


def test_latencies_run_from_each_acceptance_to_its_end_and_count_what_never_ended():
    found = latencies({"a": 1.0, "b": 2.0, "c": 3.0}, {"a": 1.5, "b": 4.0, "x": 9.0}, ["a", "b", "c", "never-sent"])
    assert (found.count, found.missing, found.p50_s, found.p99_s, found.max_s) == (2, 1, 0.5, 2.0, 2.0)


def test_without_a_single_end_there_is_no_percentile_but_all_are_missing():
    found = latencies({"a": 1.0}, {}, ["a"])
    assert (found.count, found.missing, found.p99_s) == (0, 1, None)


def test_a_backlog_is_flat_when_no_more_waits_at_the_end_than_in_the_middle():
    assert is_flat([(number, 30) for number in range(100)], length_s=100, per_s=20)


def test_a_backlog_that_grows_is_not_flat():
    assert is_flat([(number, 3 * number) for number in range(100)], length_s=100, per_s=20) is False


def test_what_came_in_the_last_two_seconds_may_wait_and_one_look_at_a_bad_moment_decides_nothing():
    samples = [(number, 0 if number < 70 else 40) for number in range(100)]
    assert is_flat(samples, length_s=100, per_s=20)
    assert is_flat([*samples, (100, 10_000)], length_s=100, per_s=20)


def test_too_few_looks_say_nothing_of_a_backlog():
    assert is_flat([(1.0, 5)], length_s=100, per_s=20) is None


def test_growth_is_told_of_what_was_there_at_both_moments():
    assert growth({"a": 100.0, "gone": 5.0, "empty": 0.0}, {"a": 110.0, "new": 1.0, "empty": 3.0}) == {"a": 1.1}


def test_the_ratio_is_the_median_of_the_rounds_and_not_of_all_rates():
    assert median_ratio([80, 10, 90], [100, 100, 100]) == 0.8


def test_processor_time_is_told_for_a_thousand_posts():
    assert per_thousand({"matching": 12.0}, 500) == {"matching": 24.0}


def test_a_process_counts_its_own_time_and_that_of_children_that_have_ended():
    line = "7 (a name) with ) S 3 7 7 0 -1 4194560 0 0 0 0 11 22 33 44 20 0 1 0 500 0 0"
    found = parse_times(line)
    assert (found.parent, found.ticks) == (3, 110)


def test_a_tree_is_a_living_leader_and_all_that_descend_from_it():
    parents = {10: 1, 11: 10, 12: 11, 20: 1, 21: 20}
    assert trees_of({"one": 10, "dead": 99}, parents) == {"one": [10, 11, 12]}


def test_who_was_started_anew_meanwhile_has_no_time_to_tell():
    before, after = Spent({"a": 1.0, "b": 9.0}, {"a": 1, "b": 2}), Spent({"a": 3.5, "b": 0.1}, {"a": 1, "b": 3})
    assert before.until(after) == {"a": 2.5}


def test_a_plan_has_exactly_its_share_of_twins_half_of_them_licensed_and_is_the_same_each_time():
    posts = plan("steady", 1_000, big_pool(SIZES), 0.3)
    assert [len(ids_of(posts, kind)) for kind in ("licensed", "accused", "nobody")] == [150, 150, 700]
    assert posts == plan("steady", 1_000, big_pool(SIZES), 0.3)
    assert len({post.post_id for post in posts}) == 1_000


def test_a_plan_for_which_no_picture_was_drawn_says_so():
    strangers = [shown for shown in big_pool(SIZES) if shown.twin is None]
    with pytest.raises(ValueError, match="accused"):
        plan("steady", 100, strangers, 0.3)


def test_every_kind_of_picture_is_drawn_large_and_small_also_in_a_short_run():
    for pool in (big_pool(SIZES), small_pool(SIZES)):
        assert {shown.kind for shown in pool} == {"licensed", "accused", "nobody"}
        assert len({shown.name for shown in pool}) == len(pool)


def test_no_two_pictures_have_one_name_also_when_the_twins_are_few():
    names = [shown.name for shown in big_pool(replace(SIZES, pictures=400))]
    assert len(set(names)) == len(names) == 400


def test_every_licensed_twin_has_a_license_and_no_other():
    who = cast.bench_cast(40, datetime(2025, 1, 1, tzinfo=UTC))
    assert len(who.talents) == 10
    assert set(who.licenses) == {twin for twin in who.talents if cast.is_licensed(twin)}
    assert len(who.licenses) == 5


def test_readings_come_behind_their_post_and_every_post_comes_once():
    posts = [Told(f"p{number}", "http://host/x.jpg") for number in range(30)]
    facts = with_readings(posts, 100)
    assert len(facts) == 100
    assert [fact for fact in facts if fact.url] == posts
    known: set[str] = set()
    for fact in facts:
        assert fact.url is not None or fact.post_id in known
        known.add(fact.post_id)


def test_intake_can_read_what_the_client_tells():
    told = told_of(plan("steady", 20, big_pool(SIZES), 0.3), "http://127.0.0.1:8099")
    facts = [*told, Told(told[0].post_id, None)]
    now = datetime.now(UTC)
    items = [item_of(fact, number=number, now=now.isoformat()) for number, fact in enumerate(facts)]
    webhook = Received(cast.PLATFORM, {}, json.dumps({"items": items}).encode(), now)
    parsed = parse(webhook, livemode=True, upload_bytes_max=1)
    assert all(isinstance(item, PostFact) for item in parsed.items)  # type: ignore[union-attr]


def test_a_picture_with_a_comment_is_another_file_and_the_same_picture():
    file = to_jpeg(plain((64, 48), (10, 200, 30)))
    other = with_comment(file, "steady-000001.jpg")
    assert other != file
    assert (from_jpeg(other) == from_jpeg(file)).all()


def test_a_report_has_every_name_also_of_phases_that_failed():
    found = {"ledger_p99_s": 1.5, "rss_growth": {"intake": 1.05, "postgres": 1.4}, "backlog_flat": False}
    told = report.report_of(found, {"intake": "no"}, SIZES)
    assert {*report.NUMBERS, *report.TABLES, "commit", "sizes", "failed"} <= set(told)
    assert told["posts_per_s"] is None
    assert told["goals_met"]["ledger_p99_s"] is True
    assert told["goals_met"]["backlog_flat"] is False
    assert told["goals_met"]["intake_ratio"] is None
    assert told["goals_met"]["rss_growth, largest of a service"] is True
    json.dumps(told)


def test_a_phase_that_fails_says_why_and_leaves_what_the_others_found(monkeypatch: pytest.MonkeyPatch):
    class Bench:
        class lookout:  # noqa: N801
            @staticmethod
            def until_done(_within_s: float) -> float:
                return 0.0

    def breaks(_bench: object, _pools: object) -> dict[str, object]:
        raise Failed("the client was not done within 5 s")

    monkeypatch.setattr(path, "PLAYS", {"steady": breaks, "saturate": lambda _bench, _pools: {"posts_per_s": 40.0}})
    found: dict[str, object] = {}
    failed: dict[str, str] = {}
    for phase in ("steady", "saturate"):
        path._play(phase, Bench(), Pools((), (), ()), found, failed, Console(quiet=True))  # type: ignore[arg-type]
    assert found == {"posts_per_s": 40.0}
    assert failed == {"steady": "Failed: the client was not done within 5 s"}


@pytest.mark.parametrize("text", ["", "one", "0", "1,99"])
def test_a_wrong_number_of_workers_is_refused_by_its_option(text: str):
    with pytest.raises(typer.BadParameter, match="from 1 to 12"):
        path._numbers(text)


def test_an_unknown_phase_is_refused_with_the_known_ones():
    with pytest.raises(typer.BadParameter, match="idle, steady"):
        path._phases(["steadily"])
    assert path._phases(["growth", "idle"]) == ("idle", "growth")
