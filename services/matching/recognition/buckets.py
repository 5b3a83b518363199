"""Points that look alike, found by hash tables without looking at all points.

Source: locality-sensitive hashing by sampled bits (Indyk and Motwani, 1998). Each table sorts all descriptors by some
of their 256 bits; descriptors that differ little meet in one bucket of some table. Crowded buckets (grass, print, sky)
tell nothing and are skipped. An index is a few segments of different sizes, searched as one: how points are spread
over the segments never changes what is found.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from services.matching.recognition.probing import Probes, around, likeliest
from services.matching.recognition.tables import (
    Tables,
    Tags,
    bits_apart,
    distance_between,
    may_vote,
    owner_of,
    tags_of,
    voting_between,
    within,
    words_of,
)
from shared.fingerprints.compiled import Bits, Counts, Flags, Grey, Places, Singles, compiled
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
def _bounds(tables: Counts, keys: Places, directory: Counts, rests: Tags, shift: int, bounds: Counts) -> None:
    """First and end position of the points in each bucket to look into (p, n), into (p, n, 2)."""
    for probe in range(len(keys)):
        # In steps of their own, so that the processor waits for many jumps through memory at once.
        for query in range(keys.shape[1]):
            cells, cell = directory[tables[probe, query]], np.uint64(keys[probe, query] >> shift)
            bounds[probe, query, 0], bounds[probe, query, 1] = cells[cell], cells[cell + np.uint64(1)]
        for query in range(keys.shape[1]):
            here = bounds[probe, query]
            first, end = within(rests[tables[probe, query]], shift, keys[probe, query], here[0], here[1])
            here[0], here[1] = first, end


def _bounds_of(probes: Probes, segments: tuple[Tables, ...]) -> Counts:
    """Buckets to look into in every segment, int32 (segments, p, n, 2)."""
    bounds = np.zeros((SEGMENTS, *probes.keys.shape, 2), np.int32)
    for number, one in enumerate(segments):
        if len(one.points):
            _bounds(*probes, one.directory, one.rests, one.shift, bounds[number])
    return bounds


@compiled
def _count_voting(tables: Counts, bounds: Counts, voting: Bits, doubtful: Flags, votes: Counts) -> None:
    """Add to `votes` (p, n) the points of one segment that may vote, where `doubtful`."""
    for probe in range(bounds.shape[0]):
        for query in range(bounds.shape[1]):
            if doubtful[probe, query]:
                first, end = bounds[probe, query]
                votes[probe, query] += voting_between(voting[tables[probe, query]], first, end)


def _crowded(probes: Probes, bounds: Counts, segments: tuple[Tables, ...], most: int) -> Flags:
    """Buckets (p, n) that more than so many voting points share; retired ones do not count."""
    doubtful: Flags = (bounds[..., 1] - bounds[..., 0]).sum(axis=0) > most
    votes = np.zeros(doubtful.shape, np.int32)
    for number, one in enumerate(segments):
        if len(one.points):
            _count_voting(probes.tables, bounds[number], one.voting, doubtful, votes)
    return votes > most


@compiled
def _met(
    tables: Counts,
    query_tags: Tags,
    bounds: Counts,
    crowded: Flags,
    places: Counts,
    voting: Bits,
    tags: Tags,
    tag_max: int,
) -> tuple[Counts, Counts]:
    """The rows of the points in the buckets of each query that may vote, and where those of each query end."""
    probes, count = crowded.shape
    room, total = 0, 0
    for probe in range(probes):
        for query in range(count):
            if not crowded[probe, query]:
                room += bounds[probe, query, 1] - bounds[probe, query, 0]
    rows, ends = np.empty(room, np.int32), np.empty(count, np.int32)
    for query in range(count):
        for probe in range(probes):
            if crowded[probe, query]:
                continue
            table = tables[probe, query]
            for place in range(bounds[probe, query, 0], bounds[probe, query, 1]):
                if tags.shape[1] > 0:
                    apart = np.uint64(tags[table, place] ^ query_tags[table, query])
                    if bits_apart(apart, np.uint64(0)) > tag_max:
                        continue
                # Of a picture that was withdrawn often, many points lie here and none of them may vote.
                if may_vote(voting[table], place):
                    rows[total] = places[table, place]
                    total += 1
        ends[query] = total
    return rows[:total], ends


@compiled
def _distances(queries: Bits, ends: Counts, words: Bits, rows: Counts) -> Counts:
    """Bits by which the points in each query's buckets differ from it."""
    distances, first = np.empty(len(rows), np.int32), 0
    for query in range(len(queries)):
        own = queries[query]
        if words.shape[1] == WORDS:
            a, b, c, d = own[0], own[1], own[2], own[3]
            for number in range(first, ends[query]):
                row = rows[number]
                apart = bits_apart(a, words[row, 0]) + bits_apart(b, words[row, 1])
                distances[number] = apart + bits_apart(c, words[row, 2]) + bits_apart(d, words[row, 3])
        else:
            for number in range(first, ends[query]):
                distances[number] = bits_apart(own[0], words[rows[number], 0])
        first = ends[query]
    return distances


@compiled
def _keep_nearest(
    rows: Counts,
    ends: Counts,
    distances: Counts,
    starts: Places,
    hints: Counts,
    ties: Bits,
    segment: int,
    distance_max: int,
    best: Places,
    best_ties: Bits,
) -> None:
    """Let the points of one segment into `best` (n, DISTINCT_NEAREST, 3: distance, owner code or -1, row).

    Kept are the references with the lowest (distance, tie), each with its nearest point; whatever the order of
    scanning. The arrays come one by one because a compiled call copies every array of a tuple.
    """
    first = 0
    for query in range(len(ends)):
        slots, slot_ties = best[query], best_ties[query]
        worst = min(distance_max, slots[:, 0].max())
        for number in range(first, ends[query]):
            distance, row = np.int64(distances[number]), rows[number]
            if distance <= worst:
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
        first = ends[query]


def nearest(queries: Bits, doubts: Grey, segments: tuple[Tables, ...], most: int) -> Alike:
    """The few nearest points of *distinct* references for every query descriptor, as near as the plan wants them.

    doubts: those of `FoundFeatures`. Buckets of more than so many points are passed over.
    """
    plan = segments[0].plan
    probes = likeliest(queries, doubts, plan)
    bounds = _bounds_of(probes, segments)
    crowded = _crowded(probes, bounds, segments, most)
    best = np.full((len(queries), DISTINCT_NEAREST, 3), -1, np.int64)
    best[:, :, 0] = FARTHER_THAN_ANY
    ties = np.zeros((len(queries), DISTINCT_NEAREST), np.uint64)
    words, tags = words_of(queries, plan), tags_of(queries, plan)
    for number, one in enumerate(segments):
        if len(one.points):
            # In steps of their own, so that the processor waits for many jumps through memory at once.
            rows, ends = _met(
                probes.tables, tags, bounds[number], crowded, one.sorted, one.voting, one.tags, plan.tag_max
            )
            distances = _distances(words, ends, one.words, rows)
            owners = one.starts, one.hints, one.ties
            _keep_nearest(rows, ends, distances, *owners, number, plan.distance_max, best, ties)
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
    tables: Counts,
    bounds: Counts,
    skipped: Flags,
    places: Counts,
    words: Bits,
    starts: Places,
    hints: Counts,
    segment: int,
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
                row = int(places[tables[probe, query], place])
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
    probes = around(queries, plan)
    bounds = _bounds_of(probes, segments)
    skipped = (bounds[..., 1] - bounds[..., 0]).sum(axis=0) > crowded
    words, parts = words_of(queries, plan), [np.zeros(0, np.int64)]
    for number, one in enumerate(segments):
        parts.append(
            _alike_in(
                words,
                probes.tables,
                bounds[number],
                skipped,
                one.sorted,
                one.words,
                one.starts,
                one.hints,
                number,
                plan.distance_max_at_registration,
            )
        )
    pairs = np.concatenate(parts)
    # np.unique takes several times as long.
    pairs.sort()
    pairs = pairs[np.diff(pairs, prepend=-1) != 0]
    return np.stack([pairs >> 32, (pairs >> 16) & 0xFFFF, pairs & 0xFFFF], axis=1)
