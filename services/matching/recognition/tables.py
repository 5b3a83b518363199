"""What is kept of the points of many references so that points that look alike are found: sorted tables, by plan.

How many tables and bits is told by `plans.py`, and which buckets are looked into by `probing.py`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from services.matching.recognition.plans import SAMPLED, SIGNATURE_WORD, Plan
from services.matching.recognition.prints import PackedPoints, Prints
from shared.fingerprints.compiled import Bits, Counts, Flags, Places, compiled, hamming
from shared.fingerprints.features import WORDS

HINT_ROWS = 64
POINTS_AT_ONCE = 1024
REST_BITS = 16
SCATTERING = 0x9E3779B1  # odd, so that no two keys become one, and of mixed bits

Tags = npt.NDArray[np.uint16]


class Tables(NamedTuple):
    """One segment: n points of m references, sorted by key in every table.

    words uint64 (n, 4, or 1 when compact): what is compared; points (n): packed; starts int64 (m + 1): the first point
    of each reference; hints int32: the reference of every HINT_ROWS-th point; ties uint64 (m), order among equals;
    directory int32 (tables, 2**b + 1) by the highest b bits of the scattered key; sorted int32 (tables, n) of points,
    by key; voting uint64 (tables, n / 64): bits in that order, whether the point may vote; tags uint16 (tables, n) in
    that order, empty when whole descriptors are compared; rests uint16 (tables, n): the other bits of the key in that
    order, empty when the directory tells whole keys apart; shift: how many these are.
    """

    plan: Plan
    words: Bits
    points: PackedPoints
    starts: Places
    hints: Counts
    ties: Bits
    directory: Counts
    sorted: Counts
    voting: Bits
    tags: Tags
    rests: Tags
    shift: int


@compiled
def keys_of(descriptors: Bits, sampled: Places) -> Counts:
    """The sampled bits (tables, bits) of descriptors as numbers, int32 (tables, n)."""
    keys = np.zeros((sampled.shape[0], len(descriptors)), np.int32)
    for first in range(0, len(descriptors), POINTS_AT_ONCE):
        # Word by word, so that the compiler can take many points at once.
        words = np.ascontiguousarray(descriptors[first : first + POINTS_AT_ONCE].T)
        for table in range(sampled.shape[0]):
            row = keys[table, first : first + POINTS_AT_ONCE]
            for bit in sampled[table]:
                word, place = words[bit >> 6], np.uint64(bit & 63)
                for point in range(len(row)):
                    row[point] = np.int32(row[point] + row[point]) | np.int32((word[point] >> place) & np.uint64(1))
    return keys


def scattered(keys: Counts, key_bits: int) -> Places:
    """Keys in another order, each still a number of its own: alike ones, which are common, no longer share a cell."""
    return (keys.astype(np.int64) * SCATTERING) & ((1 << key_bits) - 1)


def tags_of(descriptors: Bits, plan: Plan) -> Tags:
    """Tags of descriptors for every table, uint16 (tables, n); none for whole descriptors."""
    if plan.whole:
        return np.zeros((plan.tables, 0), np.uint16)
    return keys_of(descriptors, SAMPLED[plan][1]).astype(np.uint16)


def words_of(descriptors: Bits, plan: Plan) -> Bits:
    """What is compared of descriptors."""
    return descriptors if plan.whole else np.ascontiguousarray(descriptors[:, SIGNATURE_WORD : SIGNATURE_WORD + 1])


def build_tables(prints: Prints, dropped: Mapping[int, Flags], ties: Bits, plan: Plan) -> Tables:
    """Tables over the points of some references, with those that do not vote of some places, and the ties."""
    total, sampled = len(prints.points), SAMPLED[plan][0]
    # One to two cells a point: with twice as many, looking up takes a twentieth less, and 40 to 80 bytes a point more.
    bits = min(plan.key_bits, max(plan.key_bits - REST_BITS, math.ceil(math.log2(total + 1))))
    shift = plan.key_bits - bits
    directory = np.zeros((plan.tables, (1 << bits) + 1), np.int32)
    order, tags = np.empty((plan.tables, total), np.int32), tags_of(prints.descriptors, plan)
    rests = np.empty((plan.tables, total if shift else 0), np.uint16)
    for table in range(plan.tables):
        # Sorting plain numbers is several times faster than a stable argsort. Equal keys: in the order of the points.
        ordered = scattered(keys_of(prints.descriptors, sampled[table : table + 1])[0], plan.key_bits) << 32
        ordered |= np.arange(total)
        ordered.sort()
        order[table] = ordered.astype(np.int32)
        ordered >>= 32
        cells = np.bincount(ordered >> shift, minlength=1 << bits)
        directory[table, 1:] = np.cumsum(cells)
        if len(rests[table]):
            rests[table] = ordered & ((1 << shift) - 1)
        if len(tags[table]):
            tags[table] = tags[table][order[table]]
    hints = np.searchsorted(prints.starts, np.arange(0, total, HINT_ROWS), "right").astype(np.int32) - 1
    voting = np.full((plan.tables, (total + 63) // 64), ~np.uint64(0))
    tables = Tables(
        plan,
        words_of(prints.descriptors, plan),
        prints.points,
        prints.starts,
        hints,
        ties,
        directory,
        order,
        voting,
        tags,
        rests,
        shift,
    )
    return with_votes(tables, prints, {place: ~flags for place, flags in dropped.items()})


def with_votes(tables: Tables, prints: Prints, votes: Mapping[int, Flags]) -> Tables:
    """The same tables with other votes: of the references at some places, whether each of their points may vote."""
    if not votes:
        return tables
    voting, sampled = tables.voting.copy(), SAMPLED[tables.plan][0]
    for place, flags in votes.items():
        first, end = prints.starts[place : place + 2].tolist()
        keys = scattered(keys_of(prints.descriptors[first:end], sampled), tables.plan.key_bits)
        _set_votes(keys, first, flags, tables.directory, tables.rests, tables.sorted, tables.shift, voting)
    return tables._replace(voting=voting)


@compiled
def _set_votes(
    keys: Places, first: int, flags: Flags, directory: Counts, rests: Tags, places: Counts, shift: int, voting: Bits
) -> None:
    for number in range(len(flags)):
        for table in range(len(keys)):
            begin, end = bucket(directory[table], rests[table], shift, keys[table, number])
            # Points of one key lie in their own order.
            place = lowest(places[table], begin, end, first + number)
            bit = np.uint64(1) << np.uint64(place & 63)
            if flags[number]:
                voting[table, place >> 6] |= bit
            else:
                voting[table, place >> 6] &= ~bit


@compiled
def lowest(values: Counts | Tags, first: int, end: int, least: int) -> int:
    """First position from `first` whose value, in ascending order, is at least this, or `end`."""
    while first < end:
        middle = (first + end) >> 1
        if values[middle] < least:
            first = middle + 1
        else:
            end = middle
    return first


@compiled
def bucket(directory: Counts, rests: Tags, shift: int, key: int) -> tuple[int, int]:
    """First and end position in one table of the points with a scattered key."""
    first, end = int(directory[key >> shift]), int(directory[(key >> shift) + 1])
    return within(rests, shift, key, first, end)


@compiled
def within(rests: Tags, shift: int, key: int, first: int, end: int) -> tuple[int, int]:
    """The same of a key whose cell has these points."""
    if shift > 0 and first < end:
        rest = key & ((1 << shift) - 1)
        # Most cells hold one key alone.
        if rests[first] != rest or rests[end - 1] != rest:
            first = lowest(rests, first, end, rest)
            end = lowest(rests, first, end, rest + 1)
    return first, end


@compiled
def may_vote(voting: Bits, place: int) -> bool:
    """Whether the point at a place of a table is still evidence."""
    return (voting[place >> 6] >> np.uint64(place & 63)) & np.uint64(1) != 0  # type: ignore[no-any-return]  # a bool once compiled


@compiled
def voting_between(voting: Bits, first: int, end: int) -> int:
    """How many points of a table from `first` to before `end` may vote."""
    total, nothing = np.int64(0), np.uint64(0)
    for word in range(first >> 6, (end + 63) >> 6):
        bits = voting[word]
        if word == first >> 6:
            bits &= ~nothing << np.uint64(first & 63)
        if word == end >> 6:
            bits &= ~(~nothing << np.uint64(end & 63))
        total += bits_apart(bits, nothing)
    return total  # type: ignore[return-value]  # an int once compiled


@compiled
def owner_of(starts: Places, hints: Counts, row: int) -> int:
    """The reference that a point belongs to."""
    place = np.int64(hints[row // HINT_ROWS])
    while starts[place + 1] <= row:
        place += 1
    return place  # type: ignore[return-value]  # an int once compiled


@compiled
def bits_apart(one: np.uint64, other: np.uint64) -> int:
    """Number of differing bits of two words."""
    x = one ^ other
    x = x - ((x >> np.uint64(1)) & np.uint64(0x5555555555555555))
    x = (x & np.uint64(0x3333333333333333)) + ((x >> np.uint64(2)) & np.uint64(0x3333333333333333))
    x = (x + (x >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return np.int64((x * np.uint64(0x0101010101010101)) >> np.uint64(56))  # type: ignore[return-value]


@compiled
def distance_between(one: Bits, other: Bits) -> int:
    """Number of differing bits of two whole descriptors or of two signatures."""
    return hamming(one, other) if len(one) == WORDS else bits_apart(one[0], other[0])
