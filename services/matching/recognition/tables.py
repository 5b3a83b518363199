"""What is kept of the points of many references so that points that look alike are found: sorted tables, by plan.

How many tables and bits is a plan. EXACT compares whole descriptors, which costs 80 bytes a point. COMPACT, for many
references, keeps 64 of the 256 bits and, having few tables, looks into some neighbouring buckets, too (multi-probe, Lv
et al., 2007); 16 more bits beside each place in a bucket spare most of the jumps through memory.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from services.matching.recognition.prints import PackedPoints, Prints
from shared.fingerprints.compiled import Bits, Counts, Flags, Grey, Places, compiled, hamming
from shared.fingerprints.features import WORDS

HINT_ROWS = 64
TAG_BITS = 16
SIGNATURE_WORD = 1
DIRECTORY_BITS_MIN = 4
SPARSE_BITS = 2  # finer than one cell a point: most lookups then end at an empty cell

Tags = npt.NDArray[np.uint16]


class Plan(NamedTuple):
    """How points are kept and looked up.

    flips: key bits of which each, flipped alone, leads to one more bucket; whole: whether whole descriptors or
    signatures are compared; distance_max: in bits of what is compared; tag_max: in bits, of the tags of a compact
    plan; crowded: points in a bucket above which it is skipped.
    """

    tables: int
    key_bits: int
    flips: int
    whole: bool
    distance_max: int
    tag_max: int
    crowded: int

    @property
    def probes(self) -> int:
        """Buckets that are looked into in every table."""
        return 1 + self.flips


EXACT = Plan(tables=8, key_bits=20, flips=0, whole=True, distance_max=56, tag_max=0, crowded=80)
COMPACT = Plan(tables=3, key_bits=23, flips=2, whole=False, distance_max=15, tag_max=3, crowded=300)
COMPACT_FROM = 20_000


def plan_for(references: int) -> Plan:
    """The plan for an index of this size."""
    return EXACT if references < COMPACT_FROM else COMPACT


def plan_of(values: Sequence[int]) -> Plan:
    """The plan with these values; ValueError when there is none any more."""
    for plan in (EXACT, COMPACT):
        if list(plan) == list(values):
            return plan
    raise ValueError(f"plan: {values} is not known")


class Tables(NamedTuple):
    """One segment: n points of m references, sorted by key in every table.

    words uint64 (n, 4, or 1 when compact): what is compared; points (n): packed; starts int64 (m + 1): the first point
    of each reference; hints int32: the reference of every HINT_ROWS-th point; active: bits (n), whether the point may
    vote; ties uint64 (m), order among equals; directory int32 (tables, 2**b + 1) by the highest b bits of the key;
    sorted int32 (tables, n) of points; tags uint16 (tables, n) in that order, empty when whole descriptors are
    compared; keys int32 (tables, n) in that order, empty when the directory tells whole keys apart; shift: key bits
    below b.
    """

    plan: Plan
    words: Bits
    points: PackedPoints
    starts: Places
    hints: Counts
    active: Grey
    ties: Bits
    directory: Counts
    sorted: Counts
    tags: Tags
    keys: Counts
    shift: int


def _sampled_bits(plan: Plan) -> tuple[Places, Places]:
    """Bits that make the keys (tables, key bits) and the tags (tables, TAG_BITS): all are used before one is reused."""
    chance, wanted = np.random.default_rng(0), plan.tables * plan.key_bits
    if plan.whole:
        order = np.concatenate([chance.permutation(256) for _ in range(-(-wanted // 256))])
        return order[:wanted].reshape(plan.tables, -1).astype(np.int64), np.zeros((plan.tables, 0), np.int64)
    # The signature is compared anyway: keys and tags look at the other words.
    order = chance.permutation([bit for bit in range(256) if bit // 64 != SIGNATURE_WORD])
    order = order[: wanted + plan.tables * TAG_BITS].astype(np.int64)
    return order[:wanted].reshape(plan.tables, -1), order[wanted:].reshape(plan.tables, -1)


SAMPLED = {plan: _sampled_bits(plan) for plan in (EXACT, COMPACT)}


@compiled
def keys_of(descriptors: Bits, sampled: Places) -> Counts:
    """The sampled bits (tables, bits) of descriptors as numbers, int32 (tables, n)."""
    keys = np.empty((sampled.shape[0], len(descriptors)), np.int32)
    for point in range(len(descriptors)):
        for table in range(sampled.shape[0]):
            key = np.int64(0)
            for bit in sampled[table]:
                word = descriptors[point, bit >> 6]
                key = (key << 1) | np.int64((word >> np.uint64(bit & 63)) & np.uint64(1))
            keys[table, point] = key
    return keys


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
    bits = min(plan.key_bits, max(DIRECTORY_BITS_MIN, math.ceil(math.log2(total + 1)) + SPARSE_BITS))
    directory = np.zeros((plan.tables, (1 << bits) + 1), np.int32)
    order, tags = np.empty((plan.tables, total), np.int32), tags_of(prints.descriptors, plan)
    keys = np.empty((plan.tables, total if bits < plan.key_bits else 0), np.int32)
    for table in range(plan.tables):
        # Sorting plain numbers is several times faster than a stable argsort. Equal keys: in the order of the points.
        ordered = keys_of(prints.descriptors, sampled[table : table + 1])[0].astype(np.int64) << 32
        ordered |= np.arange(total)
        ordered.sort()
        order[table] = ordered.astype(np.int32)
        ordered >>= 32
        cells = np.bincount(ordered >> (plan.key_bits - bits), minlength=1 << bits)
        directory[table, 1:] = np.cumsum(cells)
        if len(keys[table]):
            keys[table] = ordered
        if len(tags[table]):
            tags[table] = tags[table][order[table]]
    hints = np.searchsorted(prints.starts, np.arange(0, total, HINT_ROWS), "right").astype(np.int32) - 1
    active = _all_active(total)
    for place, flags in dropped.items():
        set_active(active, int(prints.starts[place]), ~flags)
    words = words_of(prints.descriptors, plan)
    shift = plan.key_bits - bits
    return Tables(plan, words, prints.points, prints.starts, hints, active, ties, directory, order, tags, keys, shift)


def _all_active(total: int) -> Grey:
    return np.full((total + 7) // 8, 255, np.uint8)


@compiled
def set_active(active: Grey, first: int, flags: Flags) -> None:
    """Say of some points in a row whether they may vote."""
    for number in range(len(flags)):
        row = first + number
        bit = np.uint8(1 << (row & 7))
        active[row >> 3] = active[row >> 3] | bit if flags[number] else active[row >> 3] & ~bit


@compiled
def may_vote(active: Grey, row: int) -> bool:
    """Whether a point is still evidence."""
    return (active[row >> 3] >> (row & 7)) & 1 != 0  # type: ignore[no-any-return]  # a bool once compiled


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
