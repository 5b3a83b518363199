"""Which buckets of the tables to look into for a point: those where its like most likely lies.

Source: query-directed multi-probe (Lv et al., 2007). A bit whose two samples hardly differ turns easily between edits,
one whose samples lie far apart hardly ever. So the keys of a query's point are looked up in the order in which they
probably stayed, and the keys with one of their weakest bits turned stand in the same order. Of a reference no doubts
are kept: at registration every table is looked into, and the same bits of a key are turned.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from services.matching.recognition.plans import SAMPLED, Plan
from services.matching.recognition.tables import keys_of, scattered
from shared.fingerprints.compiled import Bits, Counts, Grey, Places, compiled
from shared.fingerprints.features import DOUBT_UNIT

PROBES_OF_TABLE = 3  # the key as it is, and with either of its two weakest bits turned
MANY_POINTS = 2_000  # with their mirror images
NEVER = np.iinfo(np.int32).max


class Probes(NamedTuple):
    """Buckets to look into for n points, in p turns: tables int32 (p, n), scattered keys int64 (p, n)."""

    tables: Counts
    keys: Places


def _turned() -> Counts:
    """By the doubt about a bit (256), what more it costs to believe that it turned than that it did not."""
    chance = -np.expm1(-np.maximum(1, np.arange(256)) / DOUBT_UNIT)
    return np.rint(DOUBT_UNIT * np.log((1 - chance) / chance)).astype(np.int32)


_TURNED = _turned()


def likeliest(descriptors: Bits, doubts: Grey, plan: Plan) -> Probes:
    """The buckets in which the like of each point (n) most likely lies, the best first.

    `plan.probes` of them, and of fewer than MANY_POINTS points as many more as take the same time, while there are any.
    """
    wanted = plan.probes * max(1.0, MANY_POINTS / max(1, len(descriptors)))
    # Bit by bit, so that the compiler can take many points at once.
    columns = np.ascontiguousarray(cv2.transpose(doubts) if len(doubts) else doubts.T)
    tables, turned = _chosen(_scores(columns.astype(np.uint8, copy=False), SAMPLED[plan][0], _TURNED), int(wanted))
    own = np.take_along_axis(keys_of(descriptors, SAMPLED[plan][0]), tables, axis=0)
    return Probes(tables, scattered(own ^ turned, plan.key_bits))


def around(descriptors: Bits, plan: Plan) -> Probes:
    """For each point (n) its bucket of every table and those beside it by one of `flips_at_registration` bits."""
    masks = np.array([0, *(1 << bit for bit in range(plan.flips_at_registration))], np.int32)
    keys = (keys_of(descriptors, SAMPLED[plan][0])[:, None, :] ^ masks[:, None]).reshape(-1, len(descriptors))
    tables = np.repeat(np.arange(plan.tables, dtype=np.int32), len(masks))
    return Probes(np.repeat(tables[:, None], len(descriptors), axis=1), scattered(keys, plan.key_bits))


@compiled
def _scores(doubts: Grey, sampled: Places, turned: Counts) -> Counts:
    """Scores (tables * PROBES_OF_TABLE, n), the lower the likelier; the low bits name the bit that is turned.

    doubts: (256, n). Row by row: the key of a table as it is, with its weakest bit turned, with its second weakest.
    """
    count, wide = doubts.shape[1], sampled.shape[1]
    scores = np.empty((len(sampled) * PROBES_OF_TABLE, count), np.int32)
    total, weakest, second = np.empty(count, np.uint16), np.empty(count, np.uint16), np.empty(count, np.uint16)
    for table in range(len(sampled)):
        total[:], weakest[:], second[:] = 0, 0, 0
        for place in range(wide):
            row, key_bit = doubts[sampled[table, place]], np.uint16(wide - 1 - place)
            for point in range(count):
                # Comparisons in place of min and max, and every width told: else not many points go at once.
                cost, most = np.uint16(row[point]), weakest[point]
                here = np.uint16(np.uint16(cost << np.uint16(8)) | key_bit)
                less = here if here < most else most
                total[point] = np.uint16(total[point] + cost)
                second[point] = second[point] if second[point] > less else less
                weakest[point] = most if here < most else here
        first = PROBES_OF_TABLE * table
        own, one, other = scores[first], scores[first + 1], scores[first + 2]
        for point in range(count):
            a, b = weakest[point], second[point]
            own[point] = np.int32(total[point]) << 8 | 255
            one[point] = (np.int32(total[point]) + turned[a >> 8]) << 8 | np.int32(a & 255)
            other[point] = (np.int32(total[point]) + turned[b >> 8]) << 8 | np.int32(b & 255)
    return scores


@compiled
def _chosen(scores: Counts, wanted: int) -> tuple[Counts, Counts]:
    """Tables and masks of bits to turn, both (wanted or all, n), of the rows of lowest scores, equals in order."""
    rows, count = scores.shape
    wanted = min(wanted, rows)
    tables, masks = np.empty((wanted, count), np.int32), np.empty((wanted, count), np.int32)
    least, at = np.empty(count, np.int32), np.empty(count, np.int32)
    for turn in range(wanted):
        least[:], at[:] = NEVER, 0
        for row in range(rows):
            here = scores[row]
            for point in range(count):
                lower = here[point] < least[point]
                least[point] = here[point] if lower else least[point]
                at[point] = row if lower else at[point]
        for point in range(count):
            scores[at[point], point] = NEVER
            bit = least[point] & 255
            tables[turn, point] = at[point] // PROBES_OF_TABLE
            masks[turn, point] = 0 if bit == 255 else 1 << bit
    return tables, masks
