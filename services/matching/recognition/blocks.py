"""Pixels against pixels: two aligned pictures, compared block by block at thumbnail size.

A block of 24 px counts when it is covered by the query, textured on either side and not shared with another twin. It
agrees when its grey values correlate, and more so when its details (a band-pass) do, and when it stays in place.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

from services.matching.recognition.edges import Edges, compare_edges
from services.matching.recognition.geometry import inverse, scale_of, scaling
from services.matching.recognition.softening import softened
from services.matching.recognition.staying import in_place
from shared.fingerprints.area import shrunk_by_area
from shared.fingerprints.compiled import Counts, Flags, Floats, Grey, Singles, compiled

TILE_PX = 12
BLOCK_PIXELS = (2 * TILE_PX) ** 2
AGREES, AGREES_CLOSELY = 0.75, 0.9
COVERED_MIN_PX = 570
GREY_VARIANCE_MIN, DETAILS_VARIANCE_MIN = 1.0, 4.0
TEXTURE_MIN, QUERY_TEXTURE_MIN = 12.0, 40.0
SCALE_MIN, SCALE_MAX = 0.05, 12.0
SHRUNK_FROM, SHRUNK_SIDE_MIN_PX = 1.2, 8
TILT_MIN = 1e-12
OUTSIDE_MAX_PX = 1e5
RIM_SHARE = 0.2
# By hand: of tiled frames most windows of 11 px are the same, of other blocks nearly none is.
WINDOW_PX, WINDOW_VARIANCE_MIN, TEXTURED_MIN_PX = 11, 40.0, 100
SAME_IN_WINDOW, DIFFERS_IN_WINDOW = 0.95, 0.3
SAME_SHARE = 0.5


@dataclass(frozen=True, eq=False)
class View:
    """A thumbnail made ready for comparison, as far as it is asked."""

    thumbnail: Grey

    @cached_property
    def soft(self) -> Grey:
        """The thumbnail, softened."""
        return softened(self.thumbnail)

    @cached_property
    def details(self) -> Grey:
        """Its details."""
        return _details(self.thumbnail)


@dataclass(frozen=True, eq=False)
class Blocks:
    """Correlations and textures of the blocks (rows, columns) of an aligned pair; `covered` where the query is.

    view: the thumbnail; laid: the query laid over it; soft: the same, softened.
    """

    view: View
    laid: Grey
    soft: Grey
    grey: Singles
    own_texture: Singles
    query_texture: Singles
    covered: Flags

    @cached_property
    def details(self) -> Singles:
        """Correlations of the details."""
        result: Singles = _correlations(self.view.details, _details(self.laid), DETAILS_VARIANCE_MIN)[0]
        return result

    @cached_property
    def same_share(self) -> Singles:
        """The share of each block's textured pixels around which both pictures are the same.

        It tells what is narrower than a block, such as a frame (from 17 px on): a window has a fifth of its pixels.
        """
        textured, same, _ = self._windows
        return np.where(textured >= TEXTURED_MIN_PX, same / np.maximum(textured, 1), 0).astype(np.float32)

    def same(self, grey_min: float) -> Flags:
        """Telling blocks that correlate at least so, or where the pictures are the same around most textured pixels."""
        flags: Flags = self.telling & ((self.grey > grey_min) | (self.same_share > SAME_SHARE))
        return flags

    @property
    def differing_share(self) -> float:
        """The share of the textured pixels of covered blocks around which they differ; inner ones count more."""
        textured, _, differing = self._windows[:, self.covered].sum(axis=1).tolist()
        return float(differing / max(1, textured))

    @cached_property
    def _windows(self) -> Counts:
        """Pixels of each block (3, rows, columns) whose windows are textured, are the same, differ."""
        return _window_counts(self.view.soft, self.soft)

    @property
    def telling(self) -> Flags:
        """Blocks that are covered and textured on either side."""
        return self.covered & ((self.query_texture > QUERY_TEXTURE_MIN) | (self.own_texture > TEXTURE_MIN))

    @cached_property
    def in_place(self) -> tuple[Flags, Flags]:
        """Telling blocks that agree and stay in place, and those that agree and could be asked."""
        return in_place(self.view.soft, self.soft, self.telling & (self.grey > AGREES))

    @property
    def middle(self) -> Flags:
        """Blocks of the middle of the thumbnail: RIM_SHARE of either side is left out at every edge."""
        rows, columns = self.covered.shape
        flags = np.zeros((rows, columns), np.bool_)
        top, left = math.ceil(RIM_SHARE * rows), math.ceil(RIM_SHARE * columns)
        flags[top : rows - top, left : columns - left] = True
        return flags

    def edges(self, usable: Flags) -> Edges:
        """How the thumbnail's edges run in the query, in the covered ones of these blocks."""
        return compare_edges(self.view.soft, self.soft, self.covered & usable)

    @property
    def textured(self) -> Flags:
        """Blocks that are textured on either side, covered or not."""
        return (self.own_texture > TEXTURE_MIN) | (self.query_texture > QUERY_TEXTURE_MIN)


def _details(grey: Grey) -> Grey:
    fine, coarse = cv2.GaussianBlur(grey, (0, 0), 1.0), cv2.blur(cv2.blur(grey, (13, 13)), (13, 13))
    return cv2.addWeighted(fine, 2.0, coarse, -2.0, 128.0).astype(np.uint8, copy=False)


@compiled
def _tile_sums(a: Grey, b: Grey) -> Counts:
    """Sums over tiles (rows, columns, 5): a, b, aa, bb, ab."""
    rows, columns = a.shape[0] // TILE_PX, a.shape[1] // TILE_PX
    sums, down = np.empty((rows, columns, 5), np.int32), np.empty((5, columns * TILE_PX), np.int32)
    s0, s1, s2, s3, s4 = down[0], down[1], down[2], down[3], down[4]
    for row in range(rows):
        # Down the columns first, so that the compiler can take many pixels at once.
        down[:] = 0
        for y in range(row * TILE_PX, row * TILE_PX + TILE_PX):
            own, other = a[y], b[y]
            for x in range(len(s0)):
                p, q = np.int32(own[x]), np.int32(other[x])
                s0[x] += p
                s1[x] += q
                s2[x] += np.int32(p * p)
                s3[x] += np.int32(q * q)
                s4[x] += np.int32(p * q)
        for kind in range(5):
            line = down[kind]
            for column in range(columns):
                total = np.int32(0)
                for x in range(column * TILE_PX, column * TILE_PX + TILE_PX):
                    total += line[x]
                sums[row, column, kind] = total
    return sums


@compiled
def _correlations(a: Grey, b: Grey, variance_min: float) -> Singles:
    """Maps (3, rows, columns): the correlation of two pictures by blocks, and the variance in a and in b."""
    sums = _tile_sums(a, b)
    rows, columns = max(0, sums.shape[0] - 1), max(0, sums.shape[1] - 1)
    maps = np.zeros((3, rows, columns), np.float32)
    for row in range(rows):
        for column in range(columns):
            total = sums[row, column] + sums[row, column + 1] + sums[row + 1, column] + sums[row + 1, column + 1]
            m = total / BLOCK_PIXELS
            in_a, in_b = m[2] - m[0] * m[0], m[3] - m[1] * m[1]
            maps[0, row, column] = (m[4] - m[0] * m[1]) / math.sqrt(max(in_a, variance_min) * max(in_b, variance_min))
            maps[1, row, column], maps[2, row, column] = in_a, in_b
    return maps


def _window_counts(a: Grey, b: Grey) -> Counts:
    """Pixels of each block (3, rows, columns) of two pictures whose windows are textured, the same, different."""
    one, other = a.astype(np.float32), b.astype(np.float32)
    mean_one, mean_other = _means(one), _means(other)
    in_one, in_other = _means(one * one) - mean_one**2, _means(other * other) - mean_other**2
    both = _means(one * other) - mean_one * mean_other
    most = np.sqrt(np.maximum(in_one, WINDOW_VARIANCE_MIN) * np.maximum(in_other, WINDOW_VARIANCE_MIN))
    textured = (in_one > WINDOW_VARIANCE_MIN) | (in_other > WINDOW_VARIANCE_MIN)
    same, differing = textured & (both > SAME_IN_WINDOW * most), textured & (both < DIFFERS_IN_WINDOW * most)
    return np.stack([_px_of_blocks(flags.astype(np.uint8)) for flags in (textured, same, differing)])


def _means(values: Singles) -> Singles:
    """Of the window around each pixel."""
    return cv2.boxFilter(values, -1, (WINDOW_PX, WINDOW_PX)).astype(np.float32, copy=False)


@compiled
def _px_of_blocks(flags: Grey) -> Counts:
    """How many pixels of each block (rows, columns) are flagged."""
    tiles = np.zeros((flags.shape[0] // TILE_PX, flags.shape[1] // TILE_PX), np.int32)
    for row in range(tiles.shape[0]):
        for column in range(tiles.shape[1]):
            for y in range(row * TILE_PX, row * TILE_PX + TILE_PX):
                for x in range(column * TILE_PX, column * TILE_PX + TILE_PX):
                    tiles[row, column] += flags[y, x] > 0
    return tiles[:-1, :-1] + tiles[1:, :-1] + tiles[:-1, 1:] + tiles[1:, 1:]


def laid_over(query: Grey, matrix: Floats, size_px: tuple[int, int]) -> tuple[Grey, Grey, Floats]:
    """A query laid over a picture (width, height) by a map (its px to query px), edges repeated outside of it.

    A query that is finer than the picture by the map's mean scale is shrunk first, as long as its shorter side allows,
    so that few of its pixels are passed over: also returns what was laid, and its map.
    """
    scale = scale_of(matrix)
    while scale >= 2 and min(query.shape) > 2 * SHRUNK_SIDE_MIN_PX:
        # Halving even sides takes a fortieth of the time of other shrinking, and leaves a quarter of it to do.
        even = query[: query.shape[0] & ~1, : query.shape[1] & ~1]
        half = even.shape[1] // 2, even.shape[0] // 2
        query = cv2.resize(even, half, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
        matrix, scale = scaling(even.shape[::-1], half) @ matrix, scale / 2
    if scale > SHRUNK_FROM and min(query.shape) / scale > SHRUNK_SIDE_MIN_PX:
        small = round(query.shape[1] / scale), round(query.shape[0] / scale)
        matrix = scaling(query.shape[::-1], small) @ matrix
        query = shrunk_by_area(query, *small)
    how = cv2.WARP_INVERSE_MAP | cv2.INTER_LINEAR
    if abs(matrix[2, 0]) + abs(matrix[2, 1]) > TILT_MIN:
        laid = cv2.warpPerspective(query, matrix, size_px, flags=how, borderMode=cv2.BORDER_REPLICATE)
    else:
        laid = cv2.warpAffine(query, matrix[:2], size_px, flags=how, borderMode=cv2.BORDER_REPLICATE)
    return laid.astype(np.uint8, copy=False), query, matrix


def compare(view: View, query: Grey, matrix: Floats) -> Blocks | None:
    """Lay a query over a thumbnail by a map (thumbnail px to query px); None when the map cannot be one of pictures."""
    if not np.isfinite(matrix).all():
        return None
    if not SCALE_MIN <= scale_of(matrix) <= SCALE_MAX:
        return None
    laid, _, _ = laid_over(query, matrix, view.thumbnail.shape[::-1])
    covered = _covered(view.thumbnail.shape, query.shape, matrix)
    if covered is None:
        return None
    soft = softened(laid)
    grey, own_texture, query_texture = _correlations(view.soft, soft, GREY_VARIANCE_MIN)
    return Blocks(view, laid, soft, grey, own_texture, query_texture, _px_of_blocks(covered) >= COVERED_MIN_PX)


def _covered(shape: tuple[int, ...], query_shape: tuple[int, ...], matrix: Floats) -> Grey | None:
    """1 where a query lies over a thumbnail; None when no map leads back, or throws a corner too far."""
    right, bottom = query_shape[1] - 1, query_shape[0] - 1
    try:
        rows = inverse(matrix).tolist()
    except np.linalg.LinAlgError:
        return None
    quad = []
    for x, y in ((0, 0), (right, 0), (right, bottom), (0, bottom)):
        u, v, depth = (row[0] * x + row[1] * y + row[2] for row in rows)
        if depth == 0 or not (abs(u / depth) <= OUTSIDE_MAX_PX and abs(v / depth) <= OUTSIDE_MAX_PX):
            return None
        quad.append((round(16 * u / depth), round(16 * v / depth)))
    covered = np.zeros(shape, np.uint8)
    cv2.fillConvexPoly(covered, np.array(quad, np.int32), 1.0, shift=4)
    return covered


def own_texture(view: View) -> Flags:
    """Blocks of a thumbnail that could tell anything."""
    textured: Flags = _correlations(view.soft, view.soft, GREY_VARIANCE_MIN)[1] > TEXTURE_MIN
    return textured
