"""One-point votes: each pair of alike points proposes a whole similarity, the best supported one stands.

Both points carry scale and angle, so one pair fixes scale, rotation and shift (as in weak geometric consistency, Jegou
et al., 2008, taken to its end). No sampling, no chance.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from shared.fingerprints.compiled import Counts, Flags, Floats, Places, Singles, compiled

SUPPORT_MIN = 2
CLOSENESS_MIN = 72  # of agreeing pairs together: two points that hardly differ, or three of the usual kind
PROPOSALS_MAX = 60
TOLERANCE_PX = 9.0
TOLERANCE_RADIANS = 0.6
TOLERANCE_LOG_SCALE = 0.45


class Proposals(NamedTuple):
    """One row per (reference, side): owner code, 1 for mirrored, agreeing pairs, their closeness, matrix (3 x 3)."""

    owners: Places
    sides: Counts
    support: Counts
    closeness: Counts
    matrices: Floats


@compiled
def _agreeing(source: Singles, target: Singles, proposal: int, flags: Flags) -> int:
    """Flag the pairs that agree with the similarity which pair `proposal` proposes; returns how many."""
    grown = target[proposal, 2] - source[proposal, 2]
    turned = target[proposal, 3] - source[proposal, 3]
    scale = math.exp(grown)
    a, b = scale * math.cos(turned), scale * math.sin(turned)
    shift_x = target[proposal, 0] - (a * source[proposal, 0] - b * source[proposal, 1])
    shift_y = target[proposal, 1] - (b * source[proposal, 0] + a * source[proposal, 1])
    limit = TOLERANCE_PX * max(1.0, scale)
    count = 0
    for pair in range(len(source)):
        flags[pair] = False
        x = a * source[pair, 0] - b * source[pair, 1] + shift_x - target[pair, 0]
        y = b * source[pair, 0] + a * source[pair, 1] + shift_y - target[pair, 1]
        if x * x + y * y > limit * limit:
            continue
        if abs(target[pair, 2] - source[pair, 2] - grown) > TOLERANCE_LOG_SCALE:
            continue
        away = target[pair, 3] - source[pair, 3] - turned
        away -= 2 * math.pi * math.floor(away / (2 * math.pi) + 0.5)
        if abs(away) > TOLERANCE_RADIANS:
            continue
        flags[pair] = True
        count += 1
    return count


@compiled
def best_similarity(source: Singles, target: Singles, weights: Counts) -> tuple[Flags, int]:
    """Which pairs (n, 4: x, y, log scale, angle on both sides) agree with the best similarity, and their weight."""
    flags, best_flags = np.zeros(len(source), np.bool_), np.zeros(len(source), np.bool_)
    best = 0
    for proposal in range(0, len(source), max(1, len(source) // PROPOSALS_MAX)):
        _agreeing(source, target, proposal, flags)
        weight = 0
        for pair in range(len(source)):
            if flags[pair]:
                weight += weights[pair]
        if weight > best:
            best = weight
            best_flags[:] = flags
    return best_flags, best


@compiled
def fit(source: Floats, target: Floats, used: Flags, affine: bool) -> tuple[Floats, bool]:
    """Least-squares affine map or similarity over the used pairs (n, 2 each); False when the points do not fix one."""
    matrix = np.eye(3)
    count, x, y, u, v = 0, 0.0, 0.0, 0.0, 0.0
    for pair in range(len(source)):
        if used[pair]:
            x, y, u, v = x + source[pair, 0], y + source[pair, 1], u + target[pair, 0], v + target[pair, 1]
            count += 1
    if count < 2:
        return matrix, False
    x, y, u, v = x / count, y / count, u / count, v / count
    pp, pq, qq, pr, qr, ps, qs = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    for pair in range(len(source)):
        if used[pair]:
            p, q, r, s = source[pair, 0] - x, source[pair, 1] - y, target[pair, 0] - u, target[pair, 1] - v
            pp, pq, qq = pp + p * p, pq + p * q, qq + q * q
            pr, qr, ps, qs = pr + p * r, qr + q * r, ps + p * s, qs + q * s
    if affine:
        area = pp * qq - pq * pq
        if area < 1e-3:
            return matrix, False
        matrix[0, 0], matrix[0, 1] = (pr * qq - qr * pq) / area, (qr * pp - pr * pq) / area
        matrix[1, 0], matrix[1, 1] = (ps * qq - qs * pq) / area, (qs * pp - ps * pq) / area
    else:
        if pp + qq < 1e-6:
            return matrix, False
        a, b = (pr + qs) / (pp + qq), (ps - qr) / (pp + qq)
        matrix[0, 0], matrix[0, 1], matrix[1, 0], matrix[1, 1] = a, -b, b, a
    matrix[0, 2] = u - matrix[0, 0] * x - matrix[0, 1] * y
    matrix[1, 2] = v - matrix[1, 0] * x - matrix[1, 1] * y
    return matrix, True


@compiled
def count_votes(
    queries: Counts, owners: Places, found: Singles, closeness: Counts, points: Singles, half: int
) -> Proposals:
    """Proposals of alike pairs, in the order of their owner codes.

    queries, owners, found, closeness: the pairs, as in Alike; points float32 (2 * half, 4): query points, first as they
    are, then mirrored.
    """
    total = len(queries)
    groups = owners * 2 + (queries >= half)
    order = np.argsort(groups, kind="mergesort")
    out_owners, out_sides = np.empty(total, np.int64), np.empty(total, np.int32)
    support, together = np.empty(total, np.int32), np.empty(total, np.int32)
    matrices = np.empty((total, 3, 3))
    count, first = 0, 0
    while first < total:
        end, possible = first, 0
        while end < total and groups[order[end]] == groups[order[first]]:
            possible += closeness[order[end]]
            end += 1
        if possible >= CLOSENESS_MIN and end - first >= SUPPORT_MIN:
            pairs = order[first:end]
            source, target = found[pairs], points[queries[pairs]]
            flags, weight = best_similarity(source, target, closeness[pairs])
            agreeing = np.count_nonzero(flags)
            if weight >= CLOSENESS_MIN and agreeing >= SUPPORT_MIN:
                matrix, fixed = fit(source[:, :2].astype(np.float64), target[:, :2].astype(np.float64), flags, False)
                if fixed:
                    out_owners[count], out_sides[count] = groups[order[first]] // 2, groups[order[first]] % 2
                    support[count], together[count], matrices[count] = agreeing, weight, matrix
                    count += 1
        first = end
    return Proposals(out_owners[:count], out_sides[:count], support[:count], together[:count], matrices[:count])
