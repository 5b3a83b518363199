"""The tables of points: who may vote, which buckets are passed over, whatever was withdrawn before."""

from dataclasses import replace

import numpy as np
import pytest

from services.matching.recognition import buckets
from services.matching.recognition.buckets import Alike, all_alike
from services.matching.recognition.plans import COMPACT, CROWDED_MIN, EXACT, SAMPLED, Plan
from services.matching.recognition.shelf import Entry, Shelf
from services.matching.recognition.tables import (
    POINTS_AT_ONCE,
    Tables,
    keys_of,
    scattered,
    voting_between,
    within,
)
from shared.fingerprints import Fingerprint
from shared.fingerprints.features import DESCRIPTOR_BITS

POINTS = 60
EVERY = 1 << 30


def a_print(words: np.ndarray) -> Fingerprint:
    """A made-up reference with these descriptors."""
    chance = np.random.default_rng(len(words))
    points = chance.random((len(words), 4)).astype(np.float32)
    return Fingerprint(chance.integers(0, 2**63, 4, np.uint64), points, words, (400, 500), (400, 500), b"")


def some_words(seed: int, count: int = POINTS) -> np.ndarray:
    """Descriptors that have nothing to do with each other."""
    return np.random.default_rng(seed).integers(0, 2**64, (count, 4), np.uint64)


def a_shelf(prints: dict[str, Fingerprint], plan: Plan) -> Shelf:
    """All in the large segment."""
    return Shelf.of([Entry(name, name, one) for name, one in prints.items()], plan)


def nearest(words: np.ndarray, tables: tuple[Tables, ...], most: int) -> Alike:
    """Of points about which nothing is in doubt."""
    return buckets.nearest(words, np.zeros((len(words), DESCRIPTOR_BITS), np.uint8), tables, most)


def found_of(alike: Alike, shelf: Shelf) -> set[tuple[int, str]]:
    """Query points and the references that they found."""
    owners = [shelf.owner(int(code)) for code in alike.owners]
    return {(int(q), one.reference_id) for q, one in zip(alike.queries, owners, strict=True) if one is not None}


def test_voting_points_are_counted_between_any_two_places() -> None:
    chance = np.random.default_rng(4)
    flags = chance.random(64 * 5) < 0.4
    voting = np.packbits(flags, bitorder="little").view(np.uint64)
    for first, end in chance.integers(0, len(flags) + 1, (300, 2)).tolist():
        if first <= end:
            assert voting_between(voting, first, end) == flags[first:end].sum()
    assert voting_between(voting, 64, 64) == 0
    assert voting_between(voting, 0, len(flags)) == flags.sum()


@pytest.mark.parametrize("count", [1, POINTS_AT_ONCE, POINTS_AT_ONCE + 1])
def test_a_key_is_made_of_the_sampled_bits_the_first_one_highest(count: int) -> None:
    words, sampled = some_words(6, count), SAMPLED[EXACT][0]
    bits = np.unpackbits(words.view(np.uint8), axis=1, bitorder="little")
    expected = bits[:, sampled] @ (1 << np.arange(EXACT.key_bits)[::-1])
    np.testing.assert_array_equal(keys_of(words, sampled), expected.T)


def test_scattered_keys_stay_apart_and_within_their_bits() -> None:
    keys = scattered(np.arange(1 << 12, dtype=np.int32), 12)
    assert sorted(keys.tolist()) == list(range(1 << 12))


def test_a_cell_that_several_keys_share_is_told_apart_by_their_rests() -> None:
    rests = np.array([9, 2, 2, 5, 5, 5, 8, 0], np.uint16)
    shift, cell = 4, 3 << 4
    assert [within(rests, shift, cell | rest, 1, 7) for rest in (2, 5, 8)] == [(1, 3), (3, 6), (6, 7)]
    assert within(rests, shift, cell | 2, 1, 3) == (1, 3)
    for rest in (0, 4, 9):
        first, end = within(rests, shift, cell | rest, 1, 7)
        assert first == end


def test_points_whose_keys_differ_by_a_bit_meet_at_registration_and_in_a_search_only_where_it_is_in_doubt() -> None:
    words, turned = some_words(7), set[int]()
    for keys in SAMPLED[EXACT][0].tolist():
        if not turned & set(keys):
            turned.add(keys[-1])
    assert any(len(turned & set(keys)) == 1 for keys in SAMPLED[EXACT][0].tolist())
    beside = words.copy()
    for bit in turned:
        beside[:, bit // 64] ^= np.uint64(1 << bit % 64)
    tables = a_shelf({"one": a_print(words)}, EXACT).tables
    assert len(nearest(beside, tables, EVERY).queries) == 0
    assert all_alike(beside, tables, EVERY)[:, 1].tolist() == list(range(POINTS))


@pytest.mark.parametrize("plan", [EXACT, COMPACT])
def test_only_points_that_may_vote_are_found(plan: Plan) -> None:
    words = some_words(1)
    prints = {"one": a_print(words), "other": a_print(some_words(2))}
    dropped = np.arange(POINTS) % 3 == 0
    shared = np.zeros((4, 4), np.bool_)
    shelf = a_shelf(prints, plan).with_changed({"one": Entry("one", "one", prints["one"], shared, dropped)})
    everything = {(point, "one") for point in range(POINTS)}
    kept = {(point, "one") for point in np.flatnonzero(~dropped).tolist()}
    assert found_of(nearest(words, a_shelf(prints, plan).tables, EVERY), shelf) == everything
    assert found_of(nearest(words, shelf.tables, EVERY), shelf) == kept
    back = shelf.with_changed({"one": Entry("one", "one", prints["one"])})
    assert found_of(nearest(words, back.tables, EVERY), back) == everything
    gone = shelf.with_changed({"one": None})
    assert found_of(nearest(words, gone.tables, EVERY), gone) == set()


@pytest.mark.parametrize("plan", [EXACT, COMPACT])
def test_a_crowded_bucket_is_passed_over_and_withdrawn_references_do_not_crowd_it(plan: Plan) -> None:
    words = some_words(3)
    names = [f"twin-{number}" for number in range(CROWDED_MIN + 5)]
    shelf = a_shelf({name: a_print(words) for name in names}, plan)
    assert found_of(nearest(words, shelf.tables, CROWDED_MIN), shelf) == set()
    fewer = shelf.with_changed(dict.fromkeys(names[:5]))
    assert {name for _, name in found_of(nearest(words, fewer.tables, CROWDED_MIN), fewer)} <= set(names[5:])
    assert len(found_of(nearest(words, fewer.tables, CROWDED_MIN), fewer)) == 3 * POINTS


@pytest.mark.parametrize("plan", [EXACT, COMPACT])
def test_closeness_is_told_in_bits_of_a_whole_descriptor(plan: Plan) -> None:
    words = some_words(5)
    alike = nearest(words, a_shelf({"one": a_print(words)}, plan).tables, EVERY)
    assert set(alike.closeness.tolist()) == {60}


def test_more_references_crowd_a_bucket_later() -> None:
    sizes = [1, 500, 2_000, 10_000, 20_000, 80_000]
    limits = [EXACT.crowded_among(size) for size in sizes]
    assert limits == sorted(limits)
    assert limits[0] == limits[1] == CROWDED_MIN
    assert limits[-1] == 2 * EXACT.crowded


@pytest.mark.parametrize("plan", [EXACT, COMPACT])
def test_a_pair_carries_the_reference_s_own_point_whatever_the_segment(plan: Plan) -> None:
    chance = np.random.default_rng(8)
    prints = {
        f"ref-{number}": replace(
            a_print(some_words(number)), points=chance.uniform(0, 2.5, (POINTS, 4)).astype(np.float32)
        )
        for number in range(50)
    }
    entries = [Entry(name, name, one) for name, one in prints.items()]
    shelf = Shelf.of(entries[:10], plan).with_added(entries[10:45]).with_added(entries[45:])
    assert all(len(one.points) for one in shelf.tables)
    for name in ("ref-3", "ref-20", "ref-48"):
        alike = nearest(prints[name].descriptors, shelf.tables, EVERY)
        assert found_of(alike, shelf) == {(point, name) for point in range(POINTS)}
        # Kept with 1/64 px and alike fractions.
        assert np.abs(alike.points - prints[name].points[alike.queries]).max() < 0.02
