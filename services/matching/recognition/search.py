"""One search: from the fingerprint of a query to what it shows."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Literal, NamedTuple

import numpy as np

from services.matching.recognition.alignment import Alignment, align, grid_of, spread_of, tilted
from services.matching.recognition.buckets import SEGMENTS, Alike, nearest
from services.matching.recognition.evidence import (
    DOUBT_FROM,
    IMPOSSIBLE,
    THRESHOLD,
    Candidate,
    explain_away,
    is_doubtful,
    is_plausible,
    log_odds_of_frames,
    log_odds_of_soft_part,
    may_be,
    probability,
)
from services.matching.recognition.geometry import (
    area,
    describe,
    mirror,
    region_of,
    scaling,
    shift,
    unturned,
)
from services.matching.recognition.match import Match
from services.matching.recognition.pair import STEPS_PX, Pair
from services.matching.recognition.panels import Box, panels
from services.matching.recognition.seen import ALIKE_MIN, look
from services.matching.recognition.shelf import Entry, Shelf
from services.matching.recognition.votes import PROPOSALS_MAX, Proposals, count_votes
from shared.fingerprints import QueryFingerprint
from shared.fingerprints.compiled import Bits, Floats, Grey, Singles
from shared.fingerprints.features import FoundFeatures
from shared.fingerprints.whole import TURNS, inner_box, turned, turned_hashes

POINTS_MIN = 4
EVERY_BUCKET = 1 << 30  # more points than any bucket has
CANDIDATES_MAX = 8
MEETING_MIN = 8
WORTH_A_LOOK = 10.0  # votes plus tightly meeting points
HASH_DISTANCE_MAX_BITS, FAR_HASH_DISTANCE_MAX_BITS = 32, 64  # frame on frame; enough to look closer
HASH_CANDIDATES_MAX = 3  # of each frame
TRIMMED_SHARE = 0.97

Sides = tuple[FoundFeatures, FoundFeatures]  # as the query is, and mirrored
# Is told the seconds of processor time that a stage took.
Spent = Callable[[Literal["global", "local"], float], None]


def search_shelf(shelf: Shelf, query: QueryFingerprint, spent: Spent) -> list[Match]:
    """Every reference of the shelf that the query shows, best first."""
    if len(shelf) == 0:
        return []
    began = time.thread_time()
    height, width = query.grey.shape
    found = list(_by_hash(shelf, query.grey))
    looked_at_whole = time.thread_time()
    found += _by_points(shelf, query)
    plausible = [candidate for candidate in found if is_plausible(candidate, (width, height))]
    matches = [_match(shelf.entry(one.reference_id), one, query) for one in explain_away(plausible)]
    spent("global", looked_at_whole - began)
    spent("local", time.thread_time() - looked_at_whole)
    return sorted(matches, key=lambda match: (-match.score, match.reference_id))


def may_show(shelf: Shelf, query: QueryFingerprint) -> bool:
    """Whether a search could find one of these few references; at a fraction of its cost, and never false by chance.

    A search among more references has the same pairs of points of these or fewer: crowded buckets are passed over, and
    each point has its few nearest references only. What proposes nothing here proposes nothing there, but for a point
    whose nearest like lies in a bucket that is crowded there: it may then meet a farther one of the same reference.
    """
    if len(shelf) == 0:
        return False
    if _near_hashes(shelf, _frames(query.grey)):
        return True
    if len(query.features) < POINTS_MIN:
        return False
    half = len(query.features)
    sides = (query.features, query.features.mirrored(query.grey.shape[1]))
    alike, points = _alike(shelf, sides, EVERY_BUCKET)
    pairs = np.unique(alike.owners * 2 + (alike.queries >= half), return_counts=True)[1]
    proposals = count_votes(*alike, points, half)
    # Of very many pairs not each is tried as a proposal: the best might be passed over.
    return len(proposals.owners) > 0 or bool((pairs > PROPOSALS_MAX).any())


def candidates(shelf: Shelf, query: QueryFingerprint) -> list[str]:
    """The references that a search looks at, by hash or by points; one may be named twice."""
    found = [near.entry.reference_id for near in _near_hashes(shelf, _frames(query.grey))]
    if len(query.features) < POINTS_MIN or len(shelf) == 0:
        return found
    proposals = _proposals(shelf, (query.features, query.features.mirrored(query.grey.shape[1])))
    owners = [shelf.owner(int(proposals.owners[number])) for number in _best(shelf, proposals)]
    return found + [entry.reference_id for entry in owners if entry is not None]


def _match(entry: Entry, candidate: Candidate, query: QueryFingerprint) -> Match:
    """A candidate in pixels of the original files."""
    reference, size_px = entry.fingerprint, query.grey.shape[::-1]
    matrix = scaling(size_px, query.original_px) @ candidate.matrix @ scaling(reference.original_px, reference.size_px)
    matrix = matrix / matrix[2, 2]
    a, b, c = ((float(row[0]), float(row[1]), float(row[2])) for row in matrix)
    return Match(
        entry.reference_id,
        entry.twin_id,
        round(probability(candidate.log_odds), 4),
        region_of(matrix, reference.original_px, query.original_px),
        (a, b, c),
        describe(matrix, reference.original_px, query.original_px, candidate.agreement.different),
        round(candidate.agreement.different, 3),
    )


# --- the whole picture ---------------------------------------------------------------------------------------


class _Frame(NamedTuple):
    """The picture, or what its flat borders leave; where that begins, and the hashes (8, 4) of its eight turns."""

    grey: Grey
    x_px: int
    y_px: int
    hashes: Bits


class _Near(NamedTuple):
    """A reference whose hash is near that of one turn of a frame."""

    entry: Entry
    frame: _Frame
    turn: int
    distance: int


def _by_hash(shelf: Shelf, grey: Grey) -> Iterator[Candidate]:
    """References whose hash is near one of the eight turns of the picture or of another frame in it."""
    height, width = grey.shape
    for entry, frame, turn, distance in _near_hashes(shelf, _frames(grey)):
        upright = np.ascontiguousarray(turned(frame.grey, turn))
        matrix = scaling(entry.fingerprint.size_px, upright.shape[::-1])
        pair = Pair(entry, upright)
        agreement = pair.agreement(matrix)
        odds = log_odds_of_frames(agreement) if distance <= HASH_DISTANCE_MAX_BITS else IMPOSSIBLE
        if odds == IMPOSSIBLE and (may_be(agreement) or pair.edges(matrix).is_hopeful):
            agreement, matrix = pair.sharpened(agreement, matrix)
            seen = look(entry, upright, matrix, STEPS_PX[-1])
            if seen.alike.sum() >= ALIKE_MIN:
                odds, agreement = pair.weighed(agreement, matrix, seen.median_bits)
        matrix = shift(frame.x_px, frame.y_px) @ unturned(turn, frame.grey.shape[::-1]) @ matrix
        region = region_of(matrix, entry.fingerprint.size_px, (width, height))
        yield Candidate(entry.reference_id, odds, agreement, matrix, region)


def _frames(grey: Grey) -> list[_Frame]:
    """The whole picture, what its flat borders leave, and the pictures that lie on its flat ground."""
    height, width = grey.shape
    boxes: list[Box] = [(0, 0, width, height)]
    # Panels are exact to the pixel, the inner box to four: of two that are nearly the same the first one stays.
    for box in (*panels(grey), inner_box(grey)):
        if all(_in_common(box, other) < TRIMMED_SHARE for other in boxes):
            boxes.append(box)
    return [
        _Frame(inner, x0, y0, turned_hashes(inner))
        for x0, y0, x1, y1 in boxes
        for inner in [np.ascontiguousarray(grey[y0:y1, x0:x1])]
    ]


def _in_common(one: Box, other: Box) -> float:
    """What two boxes share, as a share of what they cover together."""
    across = min(one[2], other[2]) - max(one[0], other[0])
    down = min(one[3], other[3]) - max(one[1], other[1])
    both = max(0, across) * max(0, down)
    return both / (_size(one) + _size(other) - both)


def _size(box: Box) -> int:
    return (box[2] - box[0]) * (box[3] - box[1])


def _near_hashes(shelf: Shelf, frames: list[_Frame]) -> list[_Near]:
    """The nearest references of each frame, at most FAR_HASH_DISTANCE_MAX_BITS away, each by its nearest turn."""
    hashes = np.concatenate([frame.hashes for frame in frames])
    nearest_of: dict[str, tuple[int, str, int, int, int]] = {}
    for number, segment in enumerate(shelf.segments):
        for distance, row, place in segment.near(hashes, FAR_HASH_DISTANCE_MAX_BITS).tolist():
            name = segment.batch.names[place].reference_id
            near = (distance, name, row, number, place)
            nearest_of[name] = min(near, nearest_of.get(name, near))
    found: list[_Near] = []
    left = [HASH_CANDIDATES_MAX] * len(frames)
    for distance, _, row, number, place in sorted(nearest_of.values()):
        frame, turn = divmod(row, TURNS)
        # Many references may be near (one picture of many twins): only those with a place are read.
        if left[frame] and (entry := shelf.segments[number].entry(place)) is not None:
            left[frame] -= 1
            found.append(_Near(entry, frames[frame], turn, distance))
    return found


# --- parts of it ---------------------------------------------------------------------------------------------


def _by_points(shelf: Shelf, query: QueryFingerprint) -> Iterator[Candidate]:
    """References whose points lie in the query in the same arrangement, straight or mirrored."""
    height, width = query.grey.shape
    if len(query.features) < POINTS_MIN:
        return
    sides = (query.features, query.features.mirrored(width))
    proposals = _proposals(shelf, sides)
    greys: dict[int, Grey] = {0: query.grey}
    grids = {}
    for number in _best(shelf, proposals):
        entry, side = shelf.owner(int(proposals.owners[number])), int(proposals.sides[number])
        if entry is None:
            continue
        if side not in grids:
            grids[side] = grid_of(sides[side].points, float(width), float(height))
        alignment = align(entry.features, sides[side], grids[side], proposals.matrices[number])
        support = int(proposals.support[number])
        if alignment.meeting < MEETING_MIN or support + alignment.tight_share * alignment.inside < WORTH_A_LOOK:
            continue
        if side not in greys:
            greys[side] = np.ascontiguousarray(query.grey[:, ::-1])
        matrix = tilted(alignment, entry.features, sides[side], entry.fingerprint.size_px)
        spread = spread_of(alignment, sides[side], (width, height))
        yield _judged(entry, greys[side], alignment, spread, matrix, mirrored=side == 1)


def _proposals(shelf: Shelf, sides: Sides) -> Proposals:
    alike, points = _alike(shelf, sides, shelf.plan.crowded_among(len(shelf)))
    return count_votes(*alike, points, len(sides[0]))


def _alike(shelf: Shelf, sides: Sides, crowded: int) -> tuple[Alike, Singles]:
    """Pairs of alike points, and the query's points: first as they are, then mirrored."""
    descriptors = np.concatenate([side.descriptors for side in sides])
    doubts = np.concatenate([side.doubts for side in sides])
    alike = nearest(descriptors, doubts, shelf.tables, crowded)
    return alike, np.concatenate([side.points for side in sides])


def _best(shelf: Shelf, proposals: Proposals) -> list[int]:
    """Numbers of the closest proposals; equals in an order that depends on the references alone."""
    ties = [shelf.segments[code % SEGMENTS].tables.ties[code // SEGMENTS] for code in proposals.owners]
    order = np.lexsort((proposals.sides, ties, -proposals.closeness))
    return [int(number) for number in order[:CANDIDATES_MAX]]


def _judged(
    entry: Entry, grey: Grey, alignment: Alignment, spread: float, matrix: Floats, *, mirrored: bool
) -> Candidate:
    """Compare the pixels, sharpen the map when in doubt, weigh the evidence. `grey`: the side that was aligned."""
    pair = Pair(entry, grey)
    agreement = pair.agreement(matrix)
    odds = pair.log_odds(agreement, matrix, alignment.median_bits)
    if is_doubtful(agreement, odds) or (odds <= DOUBT_FROM and pair.edges(matrix).is_hopeful):
        agreement, matrix = pair.sharpened(agreement, matrix)
        odds, agreement = pair.weighed(agreement, matrix, alignment.median_bits)
    height, width = grey.shape
    if mirrored:
        matrix = mirror(width) @ matrix
    region = region_of(matrix, entry.fingerprint.size_px, (width, height))
    if odds <= THRESHOLD:
        covered_share = area(region) / (width * height)
        odds = max(odds, log_odds_of_soft_part(agreement, alignment, spread, covered_share, entry.shared_share))
    return Candidate(entry.reference_id, odds, agreement, matrix, region)
