"""Hash tables over binary descriptors: points that look alike, without looking at all of them.

Source: locality-sensitive hashing by sampled bits (Indyk and Motwani, 1998). Each table sorts all descriptors by 20 of
their 256 bits; descriptors that differ little meet in one bucket of some table. Crowded buckets (grass, print, sky)
tell nothing and are skipped. An index is a few segments of different sizes, searched as one: how points are spread
over the segments never changes what is found.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from shared.fingerprints.compiled import Bits, Counts, Flags, Places, Singles, compiled, hamming

TABLES = 8
KEY_BITS = 20
SEGMENTS = 3
DISTANCE_MAX_BITS = 56
DISTINCT_NEAREST = 3
CROWDED = 80
DIRECTORY_BITS_MIN = 4
SPARSE_BITS = 2  # finer than one cell a point: most lookups then end at an empty cell
FARTHER_THAN_ANY = 257


class Tables(NamedTuple):
    """One segment: n points of m references, sorted by key in every table.

    descriptors uint64 (n, 4); points float32 (n, 4); owners int32 (n), position of the reference in the segment;
    numbers int32 (n), position of the point in its reference; active bool (n), whether the point may vote; ties uint64
    (m), order among equals; directory int32 (tables, 2**b + 1) by the highest b bits of the key; sorted int32 (tables,
    n) of points; keys int32 (tables, n) in that order, empty when the directory tells whole keys apart; shift: key
    bits below b.
    """

    descriptors: Bits
    points: Singles
    owners: Counts
    numbers: Counts
    active: Flags
    ties: Bits
    directory: Counts
    sorted: Counts
    keys: Counts
    shift: int


class Alike(NamedTuple):
    """Pairs of points that look alike: query points, codes of owners (local * SEGMENTS + segment), reference points."""

    queries: Counts
    owners: Places
    points: Singles


def _sampled_bits() -> Places:
    """Bits that make the keys (tables, key bits): every bit of the descriptor is used before one is used twice."""
    chance = np.random.default_rng(0)
    rounds = -(-TABLES * KEY_BITS // 256)
    order = np.concatenate([chance.permutation(256) for _ in range(rounds)])
    return order[: TABLES * KEY_BITS].reshape(TABLES, KEY_BITS).astype(np.int64)


_KEY_BITS = _sampled_bits()


@compiled
def _keys_of(descriptors: Bits, sampled: Places) -> Counts:
    keys = np.empty((sampled.shape[0], len(descriptors)), np.int32)
    for point in range(len(descriptors)):
        for table in range(sampled.shape[0]):
            key = np.int64(0)
            for bit in sampled[table]:
                word = descriptors[point, bit >> 6]
                key = (key << 1) | np.int64((word >> np.uint64(bit & 63)) & np.uint64(1))
            keys[table, point] = key
    return keys


def keys_of(descriptors: Bits) -> Counts:
    """Keys of descriptors in every table, int32 (tables, n)."""
    return _keys_of(descriptors, _KEY_BITS)


def build_tables(features: list[tuple[Singles, Bits]], active: list[Flags], ties: Bits) -> Tables:
    """Tables over the points of some references, given as (points, descriptors), with their flags and ties."""
    lengths = [len(points) for points, _ in features]
    points = np.concatenate([np.zeros((0, 4), np.float32), *(points for points, _ in features)])
    descriptors = np.concatenate([np.zeros((0, 4), np.uint64), *(words for _, words in features)])
    owners = np.repeat(np.arange(len(features)), lengths).astype(np.int32)
    numbers = np.concatenate([np.zeros(0, np.int32), *(np.arange(n, dtype=np.int32) for n in lengths)])
    flags = np.concatenate([np.zeros(0, np.bool_), *active])
    keys = keys_of(descriptors)
    bits = min(KEY_BITS, max(DIRECTORY_BITS_MIN, math.ceil(math.log2(len(points) + 1)) + SPARSE_BITS))
    order, sorted_keys = _in_order(keys)
    cells = keys >> (KEY_BITS - bits)
    directory = np.zeros((TABLES, (1 << bits) + 1), np.int32)
    for table in range(TABLES):
        directory[table, 1:] = np.cumsum(np.bincount(cells[table], minlength=1 << bits))
    kept = sorted_keys if bits < KEY_BITS else np.zeros((TABLES, 0), np.int32)
    return Tables(descriptors, points, owners, numbers, flags, ties, directory, order, kept, KEY_BITS - bits)


def _in_order(keys: Counts) -> tuple[Counts, Counts]:
    """Points by key in every table, equal keys in the order of the points, and the keys in that order."""
    # Sorting plain numbers is several times faster than a stable argsort.
    packed = (keys.astype(np.int64) << 32) | np.arange(keys.shape[1])
    packed.sort(axis=1)
    return packed.astype(np.int32), (packed >> 32).astype(np.int32)


@compiled
def _lowest(keys: Counts, first: int, end: int, key: int) -> int:
    """First position from `first` whose key is at least `key`, or `end`."""
    while first < end:
        middle = (first + end) >> 1
        if keys[middle] < key:
            first = middle + 1
        else:
            end = middle
    return first


@compiled
def _bounds(keys: Counts, directory: Counts, sorted_keys: Counts, shift: int) -> Counts:
    """First and end position in `sorted` of the points with each key, int32 (tables, n, 2)."""
    bounds = np.zeros((keys.shape[0], keys.shape[1], 2), np.int32)
    for table in range(keys.shape[0]):
        for query in range(keys.shape[1]):
            key = keys[table, query]
            first, end = directory[table, key >> shift], directory[table, (key >> shift) + 1]
            if first < end and shift > 0:
                first = _lowest(sorted_keys[table], first, end, key)
                end = _lowest(sorted_keys[table], first, end, key + 1)
            bounds[table, query, 0], bounds[table, query, 1] = first, end
    return bounds


def bounds_of(descriptors: Bits, segments: tuple[Tables, ...]) -> Counts:
    """Buckets of descriptors in every segment and table, int32 (segments, tables, n, 2)."""
    keys = keys_of(descriptors)
    bounds = np.zeros((SEGMENTS, TABLES, len(descriptors), 2), np.int32)
    for number, one in enumerate(segments):
        if len(one.points):
            bounds[number] = _bounds(keys, one.directory, one.keys, one.shift)
    return bounds


@compiled
def _count_voting(bounds: Counts, places: Counts, active: Flags, doubtful: Flags, voting: Counts) -> None:
    """Add to `voting` (tables, n) the points of one segment that may vote, where `doubtful`, up to more than enough."""
    for table in range(bounds.shape[0]):
        for query in range(bounds.shape[1]):
            if doubtful[table, query]:
                for place in range(bounds[table, query, 0], bounds[table, query, 1]):
                    voting[table, query] += active[places[table, place]]
                    if voting[table, query] > CROWDED:
                        break


def _crowded(bounds: Counts, segments: tuple[Tables, ...]) -> Flags:
    """Buckets (tables, n) that more than CROWDED voting points share; retired points do not count."""
    doubtful: Flags = (bounds[..., 1] - bounds[..., 0]).sum(axis=0) > CROWDED
    voting = np.zeros(doubtful.shape, np.int32)
    for number, one in enumerate(segments):
        _count_voting(bounds[number], one.sorted, one.active, doubtful, voting)
    return voting > CROWDED


@compiled
def _scan(
    queries: Bits,
    bounds: Counts,
    crowded: Flags,
    places: Counts,
    descriptors: Bits,
    owners: Counts,
    active: Flags,
    ties: Bits,
    segment: int,
    best: Places,
    best_ties: Bits,
) -> None:
    """Let the points of one segment into `best` (n, DISTINCT_NEAREST, 3: distance, owner code or -1, row).

    Kept are the references with the lowest (distance, tie), each with its nearest point; whatever the order of
    scanning. The arrays come one by one because a compiled call copies every array of a tuple.
    """
    for query in range(len(queries)):
        words, slots, slot_ties = queries[query], best[query], best_ties[query]
        for table in range(bounds.shape[0]):
            if crowded[table, query]:
                continue
            for place in range(bounds[table, query, 0], bounds[table, query, 1]):
                row = places[table, place]
                distance = hamming(words, descriptors[row])
                if distance > DISTANCE_MAX_BITS or not active[row]:
                    continue
                owner, tie = np.int64(owners[row]) * SEGMENTS + segment, ties[owners[row]]
                chosen = 0
                for slot in range(DISTINCT_NEAREST):
                    if slots[slot, 1] == owner:
                        chosen = slot
                        break
                    if (slots[slot, 0], slot_ties[slot]) > (slots[chosen, 0], slot_ties[chosen]):
                        chosen = slot
                if slots[chosen, 1] == owner:
                    better = (distance, np.int64(row)) < (slots[chosen, 0], slots[chosen, 2])
                else:
                    better = (distance, tie) < (slots[chosen, 0], slot_ties[chosen])
                if better:
                    slots[chosen, 0], slots[chosen, 1], slots[chosen, 2] = distance, owner, row
                    slot_ties[chosen] = tie


def nearest(queries: Bits, segments: tuple[Tables, ...]) -> Alike:
    """The few nearest points of *distinct* references for every query descriptor, at most DISTANCE_MAX_BITS away."""
    bounds = bounds_of(queries, segments)
    crowded = _crowded(bounds, segments)
    best = np.full((len(queries), DISTINCT_NEAREST, 3), -1, np.int64)
    best[:, :, 0] = FARTHER_THAN_ANY
    ties = np.zeros((len(queries), DISTINCT_NEAREST), np.uint64)
    for number, one in enumerate(segments):
        if len(one.points):
            _scan(
                queries,
                bounds[number],
                crowded,
                one.sorted,
                one.descriptors,
                one.owners,
                one.active,
                one.ties,
                number,
                best,
                ties,
            )
    found, slots = np.nonzero(best[:, :, 1] >= 0)
    owners, rows = best[found, slots, 1], best[found, slots, 2]
    points = np.empty((len(found), 4), np.float32)
    for number, one in enumerate(segments):
        here = owners % SEGMENTS == number
        points[here] = one.points[rows[here]]
    return Alike(found.astype(np.int32), owners, points)


@compiled
def _alike_in(queries: Bits, bounds: Counts, skipped: Flags, places: Counts, descriptors: Bits) -> Places:
    """Rows of (query point, row of the segment) at most DISTANCE_MAX_BITS apart, some of them more than once."""
    found = np.empty((1024, 2), np.int64)
    total = 0
    for query in range(len(queries)):
        for table in range(bounds.shape[0]):
            if skipped[table, query]:
                continue
            for place in range(bounds[table, query, 0], bounds[table, query, 1]):
                row = places[table, place]
                if hamming(queries[query], descriptors[row]) > DISTANCE_MAX_BITS:
                    continue
                if total == len(found):
                    wider = np.empty((2 * total, 2), np.int64)
                    wider[:total] = found
                    found = wider
                found[total, 0], found[total, 1] = query, row
                total += 1
    return found[:total]


def all_alike(queries: Bits, segments: tuple[Tables, ...], crowded: int) -> Places:
    """Every pair at most DISTANCE_MAX_BITS away, voting or not: distinct rows of (owner, query point, reference point).

    Sorted; buckets of more than `crowded` points are skipped.
    """
    bounds = bounds_of(queries, segments)
    skipped = (bounds[..., 1] - bounds[..., 0]).sum(axis=0) > crowded
    packed = np.zeros(0, np.int64)
    for number, one in enumerate(segments):
        found = _alike_in(queries, bounds[number], skipped, one.sorted, one.descriptors)
        owners = one.owners[found[:, 1]].astype(np.int64) * SEGMENTS + number
        packed = np.concatenate([packed, (owners << 32) | (found[:, 0] << 16) | one.numbers[found[:, 1]]])
    # np.unique takes several times as long.
    packed.sort()
    packed = packed[np.diff(packed, prepend=-1) != 0]
    return np.stack([packed >> 32, (packed >> 16) & 0xFFFF, packed & 0xFFFF], axis=1)
