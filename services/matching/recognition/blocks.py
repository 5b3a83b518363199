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

from services.matching.recognition.geometry import inverse, scale_of, scaling
from services.matching.recognition.staying import in_place
from shared.fingerprints.compiled import Flags, Floats, Grey, Singles, compiled

TILE_PX = 12
BLOCK_PIXELS = (2 * TILE_PX) ** 2
AGREES, AGREES_CLOSELY = 0.75, 0.9
COVERED_MIN_PX = 570
TEXTURE_MIN, QUERY_TEXTURE_MIN = 12.0, 40.0
SCALE_MIN, SCALE_MAX = 0.05, 12.0
SHRUNK_FROM, SHRUNK_SIDE_MIN_PX = 1.5, 8
TILT_MIN = 1e-12


@dataclass(frozen=True, eq=False)
class View:
    """A thumbnail made ready for comparison: softened grey and its details."""

    soft: Grey
    details: Grey

    @classmethod
    def of(cls, thumbnail: Grey) -> View:
        """Soften and take the details."""
        return cls(_soft(thumbnail), _details(thumbnail))


@dataclass(frozen=True, eq=False)
class Blocks:
    """Correlations and textures of the blocks (rows, columns) of an aligned pair; `covered` where the query is.

    own, laid: the softened pixels of the thumbnail and of the query laid over it.
    """

    own: Grey
    laid: Grey
    grey: Singles
    details: Singles
    own_texture: Singles
    query_texture: Singles
    covered: Flags

    @property
    def telling(self) -> Flags:
        """Blocks that are covered and textured on either side."""
        return self.covered & ((self.query_texture > QUERY_TEXTURE_MIN) | (self.own_texture > TEXTURE_MIN))

    @cached_property
    def in_place(self) -> tuple[Flags, Flags]:
        """Telling blocks that agree and stay in place, and those that agree and could be asked."""
        return in_place(self.own, self.laid, self.telling & (self.grey > AGREES))

    @property
    def textured(self) -> Flags:
        """Blocks that are textured on either side, covered or not."""
        return (self.own_texture > TEXTURE_MIN) | (self.query_texture > QUERY_TEXTURE_MIN)


def _soft(grey: Grey) -> Grey:
    return cv2.GaussianBlur(grey, (0, 0), 0.8).astype(np.uint8, copy=False)


def _details(grey: Grey) -> Grey:
    fine, coarse = cv2.GaussianBlur(grey, (0, 0), 1.0), cv2.blur(cv2.blur(grey, (13, 13)), (13, 13))
    return cv2.addWeighted(fine, 2.0, coarse, -2.0, 128.0).astype(np.uint8, copy=False)


@compiled
def _tile_sums(a: Grey, b: Grey, fine_a: Grey, fine_b: Grey, covered: Grey) -> Floats:
    """Sums over tiles: a, b, aa, bb, ab, the same of the details, covered pixels."""
    rows, columns = a.shape[0] // TILE_PX, a.shape[1] // TILE_PX
    sums = np.zeros((rows, columns, 11))
    for row in range(rows):
        for column in range(columns):
            zero = np.int64(0)
            s0, s1, s2, s3, s4, t0, t1, t2, t3, t4 = zero, zero, zero, zero, zero, zero, zero, zero, zero, zero
            inside = 0
            for y in range(row * TILE_PX, row * TILE_PX + TILE_PX):
                for x in range(column * TILE_PX, column * TILE_PX + TILE_PX):
                    p, q = np.int32(a[y, x]), np.int32(b[y, x])
                    s0, s1, s2, s3, s4 = s0 + p, s1 + q, s2 + p * p, s3 + q * q, s4 + p * q
                    p, q = np.int32(fine_a[y, x]), np.int32(fine_b[y, x])
                    t0, t1, t2, t3, t4 = t0 + p, t1 + q, t2 + p * p, t3 + q * q, t4 + p * q
                    inside += covered[y, x] > 0
            sums[row, column] = np.array([s0, s1, s2, s3, s4, t0, t1, t2, t3, t4, inside])
    return sums


@compiled
def _block_maps(a: Grey, b: Grey, fine_a: Grey, fine_b: Grey, covered: Grey) -> Singles:
    """Maps (5, rows, columns): correlation of grey, of details, texture of a, of b, covered pixels."""
    sums = _tile_sums(a, b, fine_a, fine_b, covered)
    rows, columns = max(0, sums.shape[0] - 1), max(0, sums.shape[1] - 1)
    maps = np.zeros((5, rows, columns), np.float32)
    for row in range(rows):
        for column in range(columns):
            total = sums[row, column] + sums[row, column + 1] + sums[row + 1, column] + sums[row + 1, column + 1]
            m = total / BLOCK_PIXELS
            texture_a, texture_b = m[2] - m[0] * m[0], m[3] - m[1] * m[1]
            fine = math.sqrt(max(m[7] - m[5] * m[5], 4.0) * max(m[8] - m[6] * m[6], 4.0))
            maps[0, row, column] = (m[4] - m[0] * m[1]) / math.sqrt(max(texture_a, 1.0) * max(texture_b, 1.0))
            maps[1, row, column] = (m[9] - m[5] * m[6]) / fine
            maps[2, row, column], maps[3, row, column] = texture_a, texture_b
            maps[4, row, column] = total[10]
    return maps


def laid_over(query: Grey, matrix: Floats, size_px: tuple[int, int]) -> tuple[Grey, Grey, Floats]:
    """A query laid over a picture (width, height) by a map (its px to query px), edges repeated outside of it.

    A query much finer than the picture is shrunk first, so that no pixel of it is passed over: also returns what was
    laid, and its map.
    """
    scale = scale_of(matrix)
    if scale > SHRUNK_FROM and min(query.shape) / scale > SHRUNK_SIDE_MIN_PX:
        small = cv2.resize(query, None, fx=1 / scale, fy=1 / scale, interpolation=cv2.INTER_AREA)
        matrix = scaling(query.shape[::-1], small.shape[::-1]) @ matrix
        query = small.astype(np.uint8, copy=False)
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
    over, query, matrix = laid_over(query, matrix, view.soft.shape[::-1])
    covered = _covered(view.soft.shape, query.shape, matrix)
    if covered is None:
        return None
    soft = _soft(over)
    maps = _block_maps(view.soft, soft, view.details, _details(over), covered)
    return Blocks(view.soft, soft, maps[0], maps[1], maps[2], maps[3], maps[4] >= COVERED_MIN_PX)


def _covered(shape: tuple[int, ...], query_shape: tuple[int, ...], matrix: Floats) -> Grey | None:
    height, width = query_shape
    corners = np.array([[0, 0, 1], [width - 1, 0, 1], [width - 1, height - 1, 1], [0, height - 1, 1.0]])
    try:
        quad = corners @ inverse(matrix).T
    except np.linalg.LinAlgError:
        return None
    quad = quad[:, :2] / np.where(quad[:, 2:] == 0, np.nan, quad[:, 2:])
    if not np.isfinite(quad).all() or np.abs(quad).max() > 1e5:
        return None
    covered = np.zeros(shape, np.uint8)
    cv2.fillConvexPoly(covered, np.rint(quad * 16).astype(np.int32), 1.0, shift=4)
    return covered


def own_texture(view: View) -> Flags:
    """Blocks of a thumbnail that could tell anything."""
    maps = _block_maps(view.soft, view.soft, view.details, view.details, np.ones(view.soft.shape, np.uint8))
    textured: Flags = maps[2] > TEXTURE_MIN
    return textured
