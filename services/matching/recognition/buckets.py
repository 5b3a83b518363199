"""Points that look alike, found by hash tables without looking at all points.

Source: locality-sensitive hashing by sampled bits (Indyk and Motwani, 1998). Each table sorts all descriptors by some
of their 256 bits; descriptors that differ little meet in one bucket of some table. Crowded buckets (grass, print, sky)
tell nothing and are skipped. An index is a few segments of different sizes, searched as one: how points are spread
over the segments never changes what is found.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from services.matching.recognition.tables import (
    SAMPLED,
    Tables,
    Tags,
    bits_apart,
    distance_between,
    keys_of,
    may_vote,
    owner_of,
    scattered,
    tags_of,
    voting_between,
    within,
    words_of,
)
from shared.fingerprints.compiled import Bits, Counts, Flags, Places, Singles, compiled
from shared.fingerprints.features import WORDS
from shared.fingerprints.fingerprint import unpacked

SEGMENTS = 3
DISTINCT_NEAREST = 3
UNLIKE_BITS = 60  # of 256: how far points are apart that met in a bucket by chance
FARTHER_THAN_ANY = 257


class Alike(NamedTuple):
    """Pairs of points that look alike.

    queries: query points; owners: codes of references (local * SEGMENTS + segment); points: reference points (n, 4);
    closeness: by how many of 256 bits they differ less than points that have nothing in common.
    """

    queries: Counts
    owners: Places
    points: Singles
    closeness: Counts


@compiled
def _bounds(keys: Places, directory: Counts, rests: Tags, shift: int, bounds: Counts) -> None:
    """First and end position in one table of the points with each scattered key (n), into (n, 2)."""
    # In steps of their own, so that the processor waits for many jumps through memory at once.
    for query in range(len(keys)):
        cell = np.uint64(keys[query] >> shift)
        bounds[query, 0], bounds[query, 1] = directory[cell], directory[cell + np.uint64(1)]
    for query in range(len(keys)):
        first, end = within(rests, shift, keys[query], bounds[query, 0], bounds[query, 1])
        bounds[query, 0], bounds[query, 1] = first, end


def _bounds_of(descriptors: Bits, segments: tuple[Tables, ...], flips: int) -> Counts:
    """Buckets of descriptors in every segment and table, int32 (segments, tables * probes, n, 2)."""
    plan = segments[0].plan
    keys = keys_of(descriptors, SAMPLED[plan][0])
    masks = np.array([0, *(1 << bit for bit in range(flips))], np.int32)
    probes = scattered(keys[:, None, :] ^ masks[:, None], plan.key_bits)
    bounds = np.zeros((SEGMENTS, plan.tables, len(masks), len(descriptors), 2), np.int32)
    for number, one in enumerate(segments):
        if len(one.points):
            for table in range(plan.tables):
                cells, rests = one.directory[table], one.rests[table]
                for probe in range(len(masks)):
                    _bounds(probes[table, probe], cells, rests, one.shift, bounds[number, table, probe])
    return bounds.reshape(SEGMENTS, -1, len(descriptors), 2)


@compiled
def _count_voting(bounds: Counts, voting: Bits, doubtful: Flags, votes: Counts, probes: int) -> None:
    """Add to `votes` (tables * probes, n) the points of one segment that may vote, where `doubtful`."""
    for probe in range(bounds.shape[0]):
        table = voting[probe // probes]
        for query in range(bounds.shape[1]):
            if doubtful[probe, query]:
                votes[probe, query] += voting_between(table, bounds[probe, query, 0], bounds[probe, query, 1])


def _crowded(bounds: Counts, segments: tuple[Tables, ...], most: int) -> Flags:
    """Buckets (tables * probes, n) that more than so many voting points share; retired ones do not count."""
    doubtful: Flags = (bounds[..., 1] - bounds[..., 0]).sum(axis=0) > most
    votes = np.zeros(doubtful.shape, np.int32)
    for number, one in enumerate(segments):
        if len(one.points):
            _count_voting(bounds[number], one.voting, doubtful, votes, 1 + one.plan.flips)
    return votes > most


@compiled
def _distances(own: Bits, words: Bits, rows: Counts, distances: Counts) -> None:
    """Bits by which some points differ from one."""
    if words.shape[1] == WORDS:
        a, b, c, d = own[0], own[1], own[2], own[3]
        for number in range(len(rows)):
            row = rows[number]
            apart = bits_apart(a, words[row, 0]) + bits_apart(b, words[row, 1])
            distances[number] = apart + bits_apart(c, words[row, 2]) + bits_apart(d, words[row, 3])
    else:
        for number in range(len(rows)):
            distances[number] = bits_apart(own[0], words[rows[number], 0])


@compiled
def _scan(
    queries: Bits,
    query_tags: Tags,
    bounds: Counts,
    crowded: Flags,
    places: Counts,
    voting: Bits,
    tags: Tags,
    words: Bits,
    starts: Places,
    hints: Counts,
    ties: Bits,
    segment: int,
    probes: int,
    distance_max: int,
    tag_max: int,
    best: Places,
    best_ties: Bits,
) -> None:
    """Let the points of one segment into `best` (n, DISTINCT_NEAREST, 3: distance, owner code or -1, row).

    Kept are the references with the lowest (distance, tie), each with its nearest point; whatever the order of
    scanning. The arrays come one by one because a compiled call copies every array of a tuple.
    """
    tagged = tags.shape[1] > 0
    room = (bounds[:, :, 1] - bounds[:, :, 0]).sum(axis=0).max()
    met, rows, distances = np.empty(room, np.int64), np.empty(room, np.int32), np.empty(room, np.int32)
    for query in range(len(queries)):
        # In steps of their own, so that the processor waits for many jumps through memory at once.
        total = 0
        for probe in range(bounds.shape[0]):
            if crowded[probe, query]:
                continue
            table = probe // probes
            for place in range(bounds[probe, query, 0], bounds[probe, query, 1]):
                if tagged:
                    apart = np.uint64(tags[table, place] ^ query_tags[table, query])
                    if bits_apart(apart, np.uint64(0)) > tag_max:
                        continue
                met[total], rows[total] = table << 32 | place, places[table, place]
                total += 1
        _distances(queries[query], words, rows[:total], distances)
        slots, slot_ties = best[query], best_ties[query]
        worst = min(distance_max, slots[:, 0].max())
        for number in range(total):
            distance, row = np.int64(distances[number]), rows[number]
            if distance <= worst and may_vote(voting[met[number] >> 32], met[number] & 0xFFFFFFFF):
                reference = owner_of(starts, hints, row)
                owner, tie = reference * SEGMENTS + segment, ties[reference]
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
                    worst = min(distance_max, slots[:, 0].max())


def nearest(queries: Bits, segments: tuple[Tables, ...], most: int) -> Alike:
    """The few nearest points of *distinct* references for every query descriptor, as near as the plan wants them.

    Buckets of more than so many points are passed over.
    """
    plan = segments[0].plan
    bounds = _bounds_of(queries, segments, plan.flips)
    crowded = _crowded(bounds, segments, most)
    best = np.full((len(queries), DISTINCT_NEAREST, 3), -1, np.int64)
    best[:, :, 0] = FARTHER_THAN_ANY
    ties = np.zeros((len(queries), DISTINCT_NEAREST), np.uint64)
    words, tags = words_of(queries, plan), tags_of(queries, plan)
    for number, one in enumerate(segments):
        if len(one.points):
            _scan(
                words,
                tags,
                bounds[number],
                crowded,
                one.sorted,
                one.voting,
                one.tags,
                one.words,
                one.starts,
                one.hints,
                one.ties,
                number,
                1 + plan.flips,
                plan.distance_max,
                plan.tag_max,
                best,
                ties,
            )
    found, slots = np.nonzero(best[:, :, 1] >= 0)
    distances, owners, rows = best[found, slots].T
    points, numbers = np.empty((len(found), 4), np.float32), owners % SEGMENTS
    for number, one in enumerate(segments):
        if len(one.points):
            here = np.flatnonzero(numbers == number)
            # Taken, not indexed: an array of records is indexed at a tenth of the speed.
            points[here] = unpacked(np.take(one.points, rows[here]).tobytes())
    closeness = UNLIKE_BITS - distances * (WORDS // words.shape[1])
    return Alike(found.astype(np.int32), owners, points, closeness.astype(np.int32))


@compiled
def _alike_in(
    queries: Bits,
    bounds: Counts,
    skipped: Flags,
    places: Counts,
    words: Bits,
    starts: Places,
    hints: Counts,
    segment: int,
    probes: int,
    distance_max: int,
) -> Places:
    """Pairs at most so far apart, some of them more than once: owner code << 32 | query point << 16 | its point."""
    found = np.empty(1024, np.int64)
    total = 0
    for query in range(len(queries)):
        for probe in range(bounds.shape[0]):
            if skipped[probe, query]:
                continue
            for place in range(bounds[probe, query, 0], bounds[probe, query, 1]):
                row = int(places[probe // probes, place])
                if distance_between(queries[query], words[row]) > distance_max:
                    continue
                if total == len(found):
                    wider = np.empty(2 * total, np.int64)
                    wider[:total] = found
                    found = wider
                owner = owner_of(starts, hints, row)
                found[total] = (owner * SEGMENTS + segment) << 32 | query << 16 | (row - starts[owner])
                total += 1
    return found[:total]


def all_alike(queries: Bits, segments: tuple[Tables, ...], crowded: int) -> Places:
    """Every pair as near as the plan wants, voting or not: distinct rows of (owner, query point, reference point).

    Sorted; buckets of more than `crowded` points are skipped, beside one of which a pair may be known to one side only.
    """
    plan = segments[0].plan
    bounds = _bounds_of(queries, segments, plan.flips_at_registration)
    skipped = (bounds[..., 1] - bounds[..., 0]).sum(axis=0) > crowded
    words, parts = words_of(queries, plan), [np.zeros(0, np.int64)]
    for number, one in enumerate(segments):
        parts.append(
            _alike_in(
                words,
                bounds[number],
                skipped,
                one.sorted,
                one.words,
                one.starts,
                one.hints,
                number,
                1 + plan.flips_at_registration,
                plan.distance_max,
            )
        )
    pairs = np.concatenate(parts)
    # np.unique takes several times as long.
    pairs.sort()
    pairs = pairs[np.diff(pairs, prepend=-1) != 0]
    return np.stack([pairs >> 32, (pairs >> 16) & 0xFFFF, pairs & 0xFFFF], axis=1)
