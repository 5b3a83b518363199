"""Which buckets a search looks into: those in which the like of a point most likely lies."""

import numpy as np
import pytest

from services.matching.recognition.buckets import nearest
from services.matching.recognition.plans import COMPACT, EXACT, SAMPLED, Plan
from services.matching.recognition.probing import MANY_POINTS, PROBES_OF_TABLE, around, likeliest
from services.matching.recognition.shelf import Entry, Shelf
from services.matching.recognition.tables import keys_of, scattered
from shared.fingerprints import Fingerprint
from shared.fingerprints.features import DESCRIPTOR_BITS, DOUBT_UNIT

EVERY = 1 << 30
POINTS = 50


def some_words(seed: int, count: int = POINTS) -> np.ndarray:
    """Descriptors that have nothing to do with each other."""
    return np.random.default_rng(seed).integers(0, 2**64, (count, 4), np.uint64)


def doubts(value: int, count: int = POINTS) -> np.ndarray:
    """The same doubt about every bit."""
    return np.full((count, DESCRIPTOR_BITS), value, np.uint8)


def turned(words: np.ndarray, bits: list[int]) -> np.ndarray:
    """Descriptors with some bits turned."""
    result = words.copy()
    for bit in bits:
        result[:, bit // 64] ^= np.uint64(1 << bit % 64)
    return result


def scattered_keys(words: np.ndarray, plan: Plan) -> np.ndarray:
    """The keys of all tables (tables, n) as the tables hold them."""
    return scattered(keys_of(words, SAMPLED[plan][0]), plan.key_bits)


@pytest.mark.parametrize("plan", [EXACT, COMPACT])
def test_a_plan_s_bits_are_read_with_its_shape(plan: Plan) -> None:
    keys, tags = SAMPLED[plan]
    assert keys.shape == (plan.tables, plan.key_bits)
    assert all(len(set(row)) == len(row) for row in (*keys.tolist(), *tags.tolist()))
    assert 0 <= keys.min() <= keys.max() < DESCRIPTOR_BITS
    if not plan.whole:
        used = [*keys.ravel().tolist(), *tags.ravel().tolist()]
        assert len(set(used)) == len(used)
        assert not any(64 <= bit < 128 for bit in used)  # those are the signature, which is compared anyway


@pytest.mark.parametrize("plan", [EXACT, COMPACT])
def test_the_table_whose_key_is_least_in_doubt_comes_first(plan: Plan) -> None:
    words, here = some_words(1), doubts(60)
    for point in range(POINTS):
        here[point, SAMPLED[plan][0][point % plan.tables]] = 2
    probes = likeliest(words, here, plan)
    first = np.arange(POINTS) % plan.tables
    np.testing.assert_array_equal(probes.tables[0], first)
    np.testing.assert_array_equal(probes.keys[0], scattered_keys(words, plan)[first, np.arange(POINTS)])


@pytest.mark.parametrize("plan", [EXACT, COMPACT])
def test_the_buckets_are_those_of_the_highest_chance(plan: Plan) -> None:
    words, chance = some_words(2), np.random.default_rng(3)
    here = chance.integers(1, 250, (POINTS, DESCRIPTOR_BITS), np.uint8)
    stays = np.exp(here / -DOUBT_UNIT)
    sampled, own = SAMPLED[plan][0], keys_of(words, SAMPLED[plan][0])
    probes = likeliest(words, here, plan)
    for point in range(POINTS):
        pairs = zip(probes.tables[:, point].tolist(), probes.keys[:, point].tolist(), strict=True)
        found = {pair: turn for turn, pair in enumerate(pairs)}
        assert len(found) == len(probes.keys) == PROBES_OF_TABLE * plan.tables
        chances = np.zeros(len(found))
        for table in range(plan.tables):
            row = stays[point, sampled[table]]
            chances[found[table, int(scattered(own[table, point], plan.key_bits))]] = row.prod()
            for place in np.argsort(row, kind="stable")[: PROBES_OF_TABLE - 1].tolist():
                key = own[table, point] ^ (1 << plan.key_bits - 1 - place)
                weak = row.prod() / row[place] * (1 - row[place])
                chances[found[table, int(scattered(key, plan.key_bits))]] = weak
        assert chances.min() > 0
        # As far as whole numbers tell them apart.
        assert (chances[1:] <= chances[:-1] * 1.01).all()


def test_of_few_points_more_buckets_are_looked_into() -> None:
    counts = [1, MANY_POINTS // 4, MANY_POINTS // 2, MANY_POINTS, 2 * MANY_POINTS]
    numbers = [len(likeliest(some_words(4, count), doubts(9, count), EXACT).keys) for count in counts]
    every = PROBES_OF_TABLE * EXACT.tables
    assert numbers == [every, 4 * EXACT.probes, 2 * EXACT.probes, EXACT.probes, EXACT.probes]


def test_nothing_is_looked_up_of_no_points() -> None:
    assert likeliest(some_words(5, 0), doubts(0, 0), EXACT).keys.shape[1] == 0


@pytest.mark.parametrize("plan", [EXACT, COMPACT])
def test_points_are_found_whose_weakest_bits_turned_and_not_those_of_firm_ones(plan: Plan) -> None:
    words = some_words(6)
    one = Fingerprint(words[0], np.zeros((POINTS, 4), np.float32), words, (400, 500), (400, 500), b"")
    shelf = Shelf.of([Entry("one", "one", one)], plan)
    bits: list[int] = []
    for keys in SAMPLED[plan][0].tolist():
        if not set(bits) & set(keys):
            bits.append(keys[7])
    weak, firm = doubts(5), doubts(5)
    weak[:, bits] = 250
    firm[:, [bit for bit in range(DESCRIPTOR_BITS) if bit not in bits]] = 10
    edit = turned(words, bits)
    assert nearest(edit, weak, shelf.tables, EVERY).queries.tolist() == list(range(POINTS))
    assert len(nearest(edit, firm, shelf.tables, EVERY).queries) == 0


@pytest.mark.parametrize("plan", [EXACT, COMPACT])
def test_at_registration_every_table_is_looked_into(plan: Plan) -> None:
    words = some_words(7)
    probes, own = around(words, plan), scattered_keys(words, plan)
    beside = 1 + plan.flips_at_registration
    assert probes.keys.shape == (plan.tables * beside, POINTS)
    np.testing.assert_array_equal(probes.keys[::beside], own)
    for table in range(plan.tables):
        rows = slice(table * beside, (table + 1) * beside)
        assert (probes.tables[rows] == table).all()
        assert all(len(set(column)) == beside for column in probes.keys[rows].T.tolist())


@pytest.mark.parametrize("plan", [EXACT, COMPACT])
def test_of_many_points_only_the_likeliest_buckets_are_looked_into(plan: Plan) -> None:
    words = some_words(8)
    one = Fingerprint(words[0], np.zeros((POINTS, 4), np.float32), words, (400, 500), (400, 500), b"")
    shelf, last = Shelf.of([Entry("one", "one", one)], plan), plan.tables - 1
    own = SAMPLED[plan][0][last].tolist()
    others = [keys.tolist() for keys in SAMPLED[plan][0][:last]]
    bits = [next(bit for bit in keys if bit not in own) for keys in others]
    edit = np.tile(turned(words, sorted(set(bits))), (MANY_POINTS // POINTS, 1))
    # Of the likeliest buckets that of the last table alone is right: the others' keys have bits that turned.
    right, wrong = doubts(200, len(edit)), doubts(10, len(edit))
    right[:, own], wrong[:, own] = 10, 200
    wrong[:, bits] = 5
    assert len(likeliest(edit, right, plan).keys) == plan.probes
    assert len(nearest(edit, right, shelf.tables, EVERY).queries) == len(edit)
    assert len(nearest(edit, wrong, shelf.tables, EVERY).queries) == 0
