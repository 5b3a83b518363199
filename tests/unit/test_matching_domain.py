"""A post is the fold of its facts; uses follow from it and from what was seen."""

import itertools
import random
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.matching.domain import Post, Seen, fold, told_again, uses_of
from services.matching.media import RETRY_AFTER, next_try
from shared.events import MediaItem, PostFact, UseSeen
from tests.builders import (
    IDENTITY,
    IMAGE,
    NOON,
    ONE_DAY,
    ONE_HOUR,
    a_deleted,
    a_measured,
    a_post,
    a_published,
    an_edited,
)

ELSEWHERE = "sha256:" + "e" * 64


def seen(twin_id: str = "twin-1", reference_id: str = "ref-1", digest: str = IMAGE) -> Seen:
    return Seen(reference_id, twin_id, digest, 0.9, (0, 0, 10, 10), IDENTITY, "whole picture", "tf1")


def uses_when_all_show(post: Post, *found: Seen) -> list[UseSeen]:
    digests = {version.event_id: [IMAGE] * len(version.post.media) for version in post.versions}
    return uses_of(post, digests, {IMAGE: list(found or (seen(),))})


def test_a_post_without_facts_is_no_post() -> None:
    with pytest.raises(ValueError, match="at least one fact"):
        fold([])


def test_the_order_in_which_facts_come_changes_nothing() -> None:
    facts: list[PostFact] = [a_published(), an_edited(), a_measured(), a_deleted()]
    posts = {fold(order) for order in itertools.permutations(facts)}
    assert len(posts) == 1


def test_facts_of_one_moment_have_one_order() -> None:
    facts: list[PostFact] = [an_edited(post=a_post(account=f"a{number}")) for number in range(6)]
    posts = set()
    for seed in range(20):
        random.Random(seed).shuffle(facts)
        posts.add(fold(facts))
    assert len(posts) == 1


def test_a_version_lasts_until_the_next_change() -> None:
    post = fold([a_published(), an_edited(), a_deleted()])
    assert [(version.shown_from, version.shown_until) for version in post.versions] == [
        (NOON, NOON + ONE_HOUR),
        (NOON + ONE_HOUR, NOON + ONE_DAY),
    ]


def test_a_post_that_stays_has_no_end() -> None:
    [use] = uses_when_all_show(fold([a_published()]))
    assert use.started_at == NOON
    assert use.ended_at is None


def test_a_deletion_ends_the_use_and_does_not_erase_it() -> None:
    [use] = uses_when_all_show(fold([a_published(), a_deleted()]))
    assert use.ended_at == NOON + ONE_DAY
    assert len(use.versions) == 1


def test_an_edit_that_removes_the_twin_ends_the_use() -> None:
    post = fold([a_published(), an_edited(post=a_post(account="acme", territories=()))])
    first, second = post.versions
    [use] = uses_of(post, {first.event_id: [IMAGE], second.event_id: [ELSEWHERE]}, {IMAGE: [seen()]})
    assert use.ended_at == NOON + ONE_HOUR


def test_a_gap_makes_no_second_use() -> None:
    later = an_edited(occurred_at=NOON + 2 * ONE_HOUR, post=a_post(territories=()))
    post = fold([a_published(), an_edited(), later])
    digests = dict(zip((version.event_id for version in post.versions), ([IMAGE], [ELSEWHERE], [IMAGE]), strict=True))
    [use] = uses_of(post, digests, {IMAGE: [seen()]})
    assert len(use.versions) == 2
    assert use.ended_at is None


def test_a_version_that_comes_late_moves_the_start_back() -> None:
    [late] = uses_when_all_show(fold([an_edited()]))
    [whole] = uses_when_all_show(fold([an_edited(), a_published()]))
    assert late.started_at == NOON + ONE_HOUR
    assert whole.started_at == NOON
    assert whole.use_id == late.use_id


def test_two_twins_in_a_post_are_two_uses_with_all_readings_each() -> None:
    post = fold([a_published(), a_measured()])
    uses = uses_when_all_show(post, seen("twin-1"), seen("twin-2", "ref-2"))
    assert [use.twin_id for use in uses] == ["twin-1", "twin-2"]
    assert [reading.impressions for use in uses for reading in use.readings] == [1200, 1200]


def test_one_image_twice_in_a_post_is_one_sighting_of_it() -> None:
    twice = a_post(media=(MediaItem(url="https://i.example/1"), MediaItem(url="https://i.example/2")))
    [use] = uses_when_all_show(fold([a_published(post=twice)]))
    assert len(use.versions[0].sightings) == 1


def test_an_image_that_is_not_known_yet_shows_nothing() -> None:
    post = fold([a_published()])
    assert uses_of(post, {post.versions[0].event_id: [None]}, {IMAGE: [seen()]}) == []
    assert uses_of(post, {}, {IMAGE: [seen()]}) == []


def test_readings_are_whole_and_sorted_and_a_repeat_adds_none() -> None:
    later = a_measured(occurred_at=NOON + 2 * ONE_HOUR, impressions=3000)
    post = fold([later, a_measured(), a_published(), a_measured()])
    assert [reading.impressions for reading in post.readings] == [1200, 3000]


def test_a_failed_fetch_is_tried_again_later_and_later_and_not_for_ever() -> None:
    waits = [next_try(attempts, 6) for attempts in range(1, 7)]
    assert waits[:5] == list(RETRY_AFTER[:5])
    assert waits[5] is None


def test_a_post_that_is_published_and_deleted_in_one_second_ends_as_deleted() -> None:
    for number in range(30):
        post_id = f"p{number}"
        post = fold([a_deleted(post_id=post_id, occurred_at=NOON), a_published(post_id=post_id)])
        assert [version.shown_until for version in post.versions] == [NOON]


COPIES = st.builds(
    lambda fact, backfill, doubtful: fact.model_copy(update={"backfill": backfill, "time_doubtful": doubtful}),
    st.sampled_from([a_published(), an_edited(), a_measured(), a_deleted()]),
    st.booleans(),
    st.booleans(),
)


def learnt(copies: Sequence[PostFact]) -> list[PostFact]:
    """The facts as the store keeps them: one per event id, each later copy merged into it."""
    known: dict[str, PostFact] = {}
    for fact in copies:
        name = str(fact.event_id())
        known[name] = told_again(known[name], fact) if name in known else fact
    return list(known.values())


@given(st.lists(COPIES, min_size=1, max_size=8), st.randoms(use_true_random=False))
def test_whichever_copies_of_the_facts_come_first_and_how_often_changes_nothing(
    copies: list[PostFact], chance: random.Random
) -> None:
    shuffled = copies + chance.choices(copies, k=4)
    chance.shuffle(shuffled)
    assert fold(learnt(shuffled)) == fold(learnt(copies))


def test_a_post_that_was_told_live_once_is_live() -> None:
    past = a_published(backfill=True)
    assert fold([past]).backfill
    assert not fold(learnt([past, a_published()])).backfill
    assert not fold([past, an_edited()]).backfill


def test_a_measurement_of_today_makes_no_news_of_a_backfilled_post() -> None:
    assert fold([a_published(backfill=True), a_measured(), a_deleted()]).backfill
    assert not fold([a_published(), a_measured(backfill=True), a_deleted(backfill=True)]).backfill


def test_a_late_repeat_takes_nothing_from_a_time_that_was_plausible_once() -> None:
    late = a_published(time_doubtful=True)
    assert fold([late]).time_doubtful
    assert not fold(learnt([late, a_published()])).time_doubtful
