"""Edges against edges: how much of a reference's contours a query shows, whatever lies over the rest.

Letters, scribbles and another picture that shines through change the grey values of every block, but between them the
edges of the copy still run where they ran, in the same directions. So at every edge of the reference the direction of
the query's gradient is compared, and what agrees is asked whether it stays in place: by one step of Lucas and Kanade
(1981) over the agreeing pixels alone. Source: the similarity of Steger (2002), which neither what covers a part of the
edges nor what adds others nor the light changes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from services.matching.recognition.staying import BLOCK_PX, STEP_PX, staying, step
from shared.fingerprints.compiled import Flags, Floats, Grey, Singles, compiled

Slopes = npt.NDArray[np.int16]

SLOPE_UNIT = 8  # a Sobel filter's answer to one grey level per pixel
EDGE_FROM, EDGE_FULL, SLOPE_MIN = 3 * SLOPE_UNIT, 12 * SLOPE_UNIT, 0.75 * SLOPE_UNIT
SAME_DIRECTION = 0.9  # cosine
PIXELS_MIN = 24  # of a block of 2 x 2 tiles
ASKED_SHARE_MIN = 0.4
BLOCK_PIXELS = BLOCK_PX**2
ROUNDS = 2


@dataclass(frozen=True, eq=False)
class Edges:
    """Blocks (rows, columns) of an aligned pair.

    own, query: the softened pictures, the query laid over the other; slopes: x and y of either; agreeing: pixels at
    edges of the reference that run the same way in the query; edged: blocks with edges of the reference; share: how
    much of these agrees, 0 where there are none.
    """

    own: Grey
    query: Grey
    slopes: tuple[Slopes, Slopes, Slopes, Slopes]
    agreeing: Grey
    edged: Flags
    share: Singles

    @cached_property
    def in_place(self) -> tuple[Flags, Flags]:
        """Blocks whose agreeing edges did not move by themselves, and those that could be asked."""
        asked = self.edged & (self.share >= ASKED_SHARE_MIN)
        moves = _moves(self.own, self.query, *self.slopes, self.agreeing, asked)
        return staying(moves, asked)


@compiled
def _directions(ax: Slopes, ay: Slopes, bx: Slopes, by: Slopes) -> tuple[Singles, Grey]:
    """How much every pixel of a counts as an edge, and at which of these b runs the same way."""
    height, width = ax.shape
    weights, agreeing = np.zeros((height, width), np.float32), np.zeros((height, width), np.uint8)
    for y in range(1, height - 1):
        for x in range(1, width - 1):
            u, v, p, q = np.float32(ax[y, x]), np.float32(ay[y, x]), np.float32(bx[y, x]), np.float32(by[y, x])
            own, other, both = np.sqrt(u * u + v * v), np.sqrt(p * p + q * q), u * p + v * q
            is_edge = own > np.float32(EDGE_FROM)
            weights[y, x] = np.minimum(own, np.float32(EDGE_FULL)) * is_edge
            same = (both > np.float32(SAME_DIRECTION) * own * other) & (other > np.float32(SLOPE_MIN))
            agreeing[y, x] = is_edge & same
    return weights, agreeing


@compiled
def _tiles(weights: Singles, agreeing: Grey) -> Singles:
    """Sums over tiles (3, rows, columns): edge pixels, their weight, the agreeing weight."""
    rows, columns = weights.shape[0] // STEP_PX, weights.shape[1] // STEP_PX
    sums, down = np.zeros((3, rows, columns), np.float32), np.empty((3, columns * STEP_PX), np.float32)
    pixels, whole, agreed = down[0], down[1], down[2]
    for row in range(rows):
        # Down the columns first, so that the compiler can take many pixels at once.
        down[:] = 0
        for y in range(row * STEP_PX, row * STEP_PX + STEP_PX):
            line, flags = weights[y], agreeing[y]
            for x in range(len(whole)):
                pixels[x] += np.float32(line[x] > 0)
                whole[x] += line[x]
                agreed[x] += line[x] * np.float32(flags[x])
        for kind in range(3):
            line = down[kind]
            for column in range(columns):
                for x in range(column * STEP_PX, column * STEP_PX + STEP_PX):
                    sums[kind, row, column] += line[x]
    return sums


@compiled
def _gathered(
    a: Grey,
    b: Grey,
    ax: Slopes,
    ay: Slopes,
    bx: Slopes,
    by: Slopes,
    agreeing: Grey,
    top: int,
    left: int,
    pixels: Floats,
) -> int:
    """The agreeing pixels of a block, into `pixels` (3, BLOCK_PIXELS); returns how many there are.

    Of each: how far b is from a, once it has the contrast of a, and the mean slopes of both in x and y.
    """
    both, other = 0.0, 0.0
    for y in range(top, top + BLOCK_PX):
        for x in range(left, left + BLOCK_PX):
            if agreeing[y, x]:
                p, q = float(bx[y, x]), float(by[y, x])
                both, other = both + ax[y, x] * p + ay[y, x] * q, other + p * p + q * q
    gain, count = both / max(other, 1.0), 0
    for y in range(top, top + BLOCK_PX):
        for x in range(left, left + BLOCK_PX):
            if agreeing[y, x]:
                pixels[0, count] = gain * b[y, x] - a[y, x]
                pixels[1, count] = (ax[y, x] + gain * bx[y, x]) / (2 * SLOPE_UNIT)
                pixels[2, count] = (ay[y, x] + gain * by[y, x]) / (2 * SLOPE_UNIT)
                count += 1
    return count


@compiled
def _step_of(pixels: Floats) -> Floats:
    """One step (3: x, y in px, grip) by gathered pixels (3, n), of which those count little that are far off the rest.

    What lies over the edges reaches into the agreeing pixels beside it.
    """
    count = pixels.shape[1]
    apart, light, spread = pixels[0], 0.0, 1.0
    for pixel in range(count):
        light += apart[pixel] / count
    for _ in range(ROUNDS):
        spread, total, sum_light = 1.0, 0.0, 0.0
        for pixel in range(count):
            spread += 2 * abs(apart[pixel] - light) / count
        for pixel in range(count):
            weight = 1 / (1 + ((apart[pixel] - light) / spread) ** 2)
            total, sum_light = total + weight, sum_light + weight * apart[pixel]
        light = sum_light / total
    xx, yy, xy, xd, yd, total = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    for pixel in range(count):
        away, u, v = apart[pixel] - light, pixels[1, pixel], pixels[2, pixel]
        weight = 1 / (1 + (away / spread) ** 2)
        xx, yy, xy = xx + weight * u * u, yy + weight * v * v, xy + weight * u * v
        xd, yd, total = xd + weight * u * away, yd + weight * v * away, total + weight
    return step(xx / total, yy / total, xy / total, xd / total, yd / total)


@compiled
def _moves(a: Grey, b: Grey, ax: Slopes, ay: Slopes, bx: Slopes, by: Slopes, agreeing: Grey, asked: Flags) -> Floats:
    """Maps (3, rows, columns): how far b's agreeing pixels lie from a's in x and y px, and their grip; 0: not asked."""
    maps = np.zeros((3, asked.shape[0], asked.shape[1]))
    pixels = np.empty((3, BLOCK_PIXELS))
    for row in range(asked.shape[0]):
        for column in range(asked.shape[1]):
            if asked[row, column]:
                top, left = row * STEP_PX, column * STEP_PX
                count = _gathered(a, b, ax, ay, bx, by, agreeing, top, left, pixels)
                if count >= PIXELS_MIN:
                    maps[:, row, column] = _step_of(pixels[:, :count])
    return maps


@compiled
def _slopes(grey: Grey) -> tuple[Slopes, Slopes]:
    """The answers of Sobel's filter in x and y; 0 at the rim."""
    height, width = grey.shape
    along, across = np.zeros((height, width), np.int16), np.zeros((height, width), np.int16)
    for y in range(1, height - 1):
        over, here, under, to_x, to_y = grey[y - 1], grey[y], grey[y + 1], along[y, 1:], across[y, 1:]
        for x in range(width - 2):
            a, b, c = np.int16(over[x]), np.int16(over[x + 1]), np.int16(over[x + 2])
            d, e = np.int16(here[x]), np.int16(here[x + 2])
            f, g, h = np.int16(under[x]), np.int16(under[x + 1]), np.int16(under[x + 2])
            to_x[x] = np.int16(np.int16(c - a) + np.int16(h - f)) + np.int16(np.int16(2) * np.int16(e - d))
            to_y[x] = np.int16(np.int16(f - a) + np.int16(h - c)) + np.int16(np.int16(2) * np.int16(g - b))
    return along, across


def _blocks(tiles: Singles) -> Singles:
    """Sums over blocks of 2 x 2 tiles."""
    return tiles[:-1, :-1] + tiles[1:, :-1] + tiles[:-1, 1:] + tiles[1:, 1:]


def compare_edges(own: Grey, query: Grey, usable: Flags) -> Edges:
    """How the edges of a softened picture run in a query that is laid over it, by the usable blocks."""
    slopes = *_slopes(own), *_slopes(query)
    weights, agreeing = _directions(*slopes)
    pixels, whole, agreed = (_blocks(part) for part in _tiles(weights, agreeing))
    edged: Flags = usable & (pixels >= PIXELS_MIN)
    share = np.where(edged, agreed / np.maximum(whole, 1), 0).astype(np.float32)
    return Edges(own, query, slopes, agreeing, edged, share)
