"""What references of different twins share, and what therefore proves nothing: marks, frames, rooms.

Every pair is judged alone and in the order of its ids, so that the same references share the same, whichever came
first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice, pairwise

import cv2
import numpy as np

from services.matching.recognition.alignment import align, grid_of
from services.matching.recognition.blocks import TEXTURE_MIN, Blocks, View, compare
from services.matching.recognition.buckets import all_alike
from services.matching.recognition.geometry import inverse, scale_of, scaling
from services.matching.recognition.shelf import Entry, Shelf
from services.matching.recognition.votes import best_similarity, fit
from shared.fingerprints.compiled import Counts, Flags, Floats, Places, Singles, compiled
from shared.fingerprints.features import Features
from shared.fingerprints.same import is_same_picture

CROWDED_AT_REGISTRATION = 1_000
SUPPORT_MIN = 3  # seals of thin lines over different grounds have no more
SCALE_MIN = 0.1  # of a map between two references: some points of one may all look like a single one of the other
# Further maps of a pair: of a layout's parts, not of rooms that two photographs share, whose masks cost .5 % of recall.
PART_SUPPORT_MIN, PARALLEL_MAX = 5, 0.04
PARTNERS_MAX, MAPS_MAX = 24, 6
MEETING_MIN = 8
SAME_GREY, NEAR_SAME_GREY = 0.95, 0.6
BLOCKS_MIN = 3
SAME_PICTURE_SHARE, SAME_PICTURE_BLOCKS = 0.85, 30
OTHER_GREY, OTHER_BLOCKS_MAX = 0.75, 4  # more of these: a template over most of two pictures, not one picture
DIFFERING_SHARE_MAX = 0.02  # a code over all but the rim of two pictures leaves .023 at least
ALIKE_COVERED_MIN = 0.5
VEILED_OTHER_GREY = 0.3  # a see-through mark leaves more of it


@dataclass(frozen=True, eq=False)
class Side:
    """What one of two references shares with the other: blocks (rows, columns) and points (n)."""

    blocks: Flags
    points: Flags


@dataclass(frozen=True, eq=False)
class Likeness:
    """Two references, `one` before `other` by id, with rough maps from one to the other, the best supported first."""

    one: Entry
    other: Entry
    matrices: Sequence[Floats]


def partners(entry: Entry, shelf: Shelf) -> list[Likeness]:
    """References of other twins that might share something with this one, best supported first."""
    own = entry.fingerprint
    pairs = all_alike(own.descriptors, shelf.tables, CROWDED_AT_REGISTRATION)
    bounds = np.flatnonzero(np.diff(pairs[:, 0], prepend=-1, append=-1))
    groups = [
        (other, pairs[first:end, 1:])
        for first, end in pairwise(bounds.tolist())
        if end - first >= SUPPORT_MIN
        and (other := shelf.owner(int(pairs[first, 0]))) is not None
        and other.twin_id != entry.twin_id
    ]
    supports = _supports(entry, groups)
    likely = np.flatnonzero(supports >= SUPPORT_MIN).tolist()
    likely.sort(key=lambda number: (-supports[number], *_by_id(entry, groups[number][0])))
    found = (_likeness(entry, *groups[number]) for number in likely)
    return list(islice((likeness for likeness in found if likeness.matrices), PARTNERS_MAX))


def _by_id(one: Entry, other: Entry) -> tuple[str, str]:
    first, second = sorted((one.reference_id, other.reference_id))
    return first, second


def _supports(entry: Entry, groups: list[tuple[Entry, Places]]) -> Counts:
    """How many of the pairs with each of the others agree with one similarity; most are chance, and told apart here."""
    if not groups:
        return np.zeros(0, np.int32)
    lengths = np.array([len(alike) for _, alike in groups])
    points = np.concatenate([other.fingerprint.points for other, _ in groups])
    begins = np.cumsum([0, *(len(other.fingerprint.points) for other, _ in groups[:-1])])
    turned = np.array([other.reference_id < entry.reference_id for other, _ in groups])
    pairs = np.concatenate([alike for _, alike in groups])
    return _support_of_each(entry.fingerprint.points, points, begins, pairs, np.cumsum([0, *lengths]), turned)


@compiled
def _support_of_each(
    own: Singles, others: Singles, begins: Places, pairs: Places, bounds: Places, turned: Flags
) -> Counts:
    """The support of each group of pairs (own point, other point): from the lower id to the higher, as in `_likeness`.

    own, others: float32 (n, 4), those of all others in a row, each from its begin; bounds: of the groups in `pairs`.
    """
    supports = np.zeros(len(begins), np.int32)
    for group in range(len(begins)):
        here = pairs[bounds[group] : bounds[group + 1]]
        ours, theirs = np.empty((len(here), 4), np.float32), np.empty((len(here), 4), np.float32)
        order = np.argsort(here[:, 1] << 16 | here[:, 0]) if turned[group] else np.arange(len(here))
        for place in range(len(here)):
            ours[place] = own[here[order[place], 0]]
            theirs[place] = others[begins[group] + here[order[place], 1]]
        one, other = (theirs, ours) if turned[group] else (ours, theirs)
        _, supports[group] = best_similarity(one, other, np.ones(len(here), np.int32))
    return supports


def _likeness(entry: Entry, other: Entry, pairs: Places) -> Likeness:
    """Two references by pairs (n, 2) of points; a mark whose parts lie otherwise in the other has several maps."""
    one = entry
    if other.reference_id < entry.reference_id:
        one, other, pairs = other, entry, pairs[:, ::-1]
        pairs = pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]
    matrices = list[Floats]()
    for _ in range(MAPS_MAX):
        source, target = one.fingerprint.points[pairs[:, 0]], other.fingerprint.points[pairs[:, 1]]
        flags, support = best_similarity(source, target, np.ones(len(source), np.int32))
        if support < (PART_SUPPORT_MIN if matrices else SUPPORT_MIN):
            break
        matrix, fixed = fit(source[:, :2].astype(np.float64), target[:, :2].astype(np.float64), flags, False)
        fits = fixed and SCALE_MIN <= scale_of(matrix) <= 1 / SCALE_MIN
        if fits and (not matrices or _is_moved(matrix, matrices[0])):
            matrices.append(matrix)
        pairs = pairs[~flags]
    return Likeness(one, other, matrices)


def _is_moved(matrix: Floats, first: Floats) -> bool:
    """Whether a similarity is another one moved: neither turned nor scaled otherwise."""
    return bool(np.abs(matrix[:2, :2] - first[:2, :2]).max() <= PARALLEL_MAX * scale_of(first))


def shared(likeness: Likeness) -> tuple[Side, Side] | None:
    """What two references share, for each of them; None when nothing, or when they are the same picture."""
    one, other = likeness.one, likeness.other
    source = Features(one.fingerprint.points, one.fingerprint.descriptors)
    target = Features(other.fingerprint.points, other.fingerprint.descriptors)
    grid = grid_of(target.points, *map(float, other.fingerprint.size_px))
    met_one, met_other, maps = np.zeros(len(source), np.bool_), np.zeros(len(target), np.bool_), list[Floats]()
    for matrix in likeness.matrices:
        alignment = align(source, target, grid, matrix)
        if alignment.meeting >= MEETING_MIN:
            maps.append(inverse(other.unit) @ alignment.matrix @ one.unit)
            met_one |= alignment.partners >= 0
            met_other[alignment.partners[alignment.partners >= 0]] = True
    if not maps:
        return None
    maps.append(scaling(one.fingerprint.thumbnail.shape[::-1], other.fingerprint.thumbnail.shape[::-1]))
    alike = is_same_picture(one.fingerprint, other.fingerprint)
    blocks_one = _same_blocks(one, other, maps, alike=alike)
    blocks_other = _same_blocks(other, one, [inverse(matrix) for matrix in maps], alike=alike)
    if blocks_one is None or blocks_other is None or not (blocks_one.any() or blocks_other.any()):
        return None
    return Side(blocks_one, met_one), Side(blocks_other, met_other)


def _same_blocks(one: Entry, other: Entry, maps: Sequence[Floats], *, alike: bool) -> Flags | None:
    """Blocks of one that agree with the other under any map; None when they are one picture, twice.

    alike: whether they look so as a whole.
    """
    view = View(one.fingerprint.thumbnail)
    result: Flags | None = None
    for matrix in maps:
        blocks = compare(view, other.fingerprint.thumbnail, matrix)
        if blocks is None:
            continue
        if _is_same_picture(blocks, alike=alike):
            return None
        found = _with_neighbours(blocks, blocks.same(SAME_GREY))
        result = found if result is None else result | found
    return result


def _is_same_picture(blocks: Blocks, *, alike: bool) -> bool:
    """Whether nearly everything agrees, or would but for a mark all over it, and nothing is clearly another picture."""
    # A map of a part lays so little of one over the other that nothing else is seen there.
    alike = alike and bool(blocks.covered.mean() > ALIKE_COVERED_MIN)
    textured = (blocks.own_texture > TEXTURE_MIN) & (blocks.query_texture > TEXTURE_MIN)
    other = (blocks.covered & textured & (blocks.grey < (VEILED_OTHER_GREY if alike else OTHER_GREY))).sum()
    same = (blocks.telling & (blocks.grey > SAME_GREY)).sum()
    enough = same > max(SAME_PICTURE_BLOCKS, SAME_PICTURE_SHARE * blocks.textured.sum())
    whole = alike or (enough and blocks.differing_share <= DIFFERING_SHARE_MAX)
    return bool(whole and other <= OTHER_BLOCKS_MAX)


def _with_neighbours(blocks: Blocks, same: Flags) -> Flags:
    """Agreeing blocks and the half-agreeing ones beside them; none when there are too few to mean anything."""
    if same.sum() < BLOCKS_MIN:
        return np.zeros_like(same)
    beside = cv2.dilate(same.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    result: Flags = same | (blocks.telling & (blocks.grey > NEAR_SAME_GREY) & beside)
    return result
