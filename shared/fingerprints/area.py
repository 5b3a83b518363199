"""Shrinking by area, exactly as OpenCV does it, in about half the time.

Source: OpenCV's `resizeArea_` (modules/imgproc/src/resize.cpp): sums in single precision, along the row first. The
order of these sums is kept, so that every pixel is the same; a unit test compares.
"""

from __future__ import annotations

import math

import cv2
import numpy as np

from shared.fingerprints.compiled import Counts, Grey, Singles, compiled_exactly


@compiled_exactly
def _shares(source: int, target: int) -> tuple[Counts, Singles]:
    """For every target pixel its first source pixel (target,); how much of it and the next ones count (k, target)."""
    scale = 1.0 / (target / source)
    firsts = np.zeros(target, np.int32)
    shares = np.zeros((math.ceil(scale) + 2, target), np.float32)
    for pixel in range(target):
        low = pixel * scale
        high, cell = low + scale, min(scale, source - low)
        last = min(math.floor(high), source - 1)
        first, count = min(math.ceil(low), last), 0
        firsts[pixel] = first
        if first - low > 1e-3:
            firsts[pixel], shares[0, pixel], count = first - 1, (first - low) / cell, 1
        for _ in range(first, last):
            shares[count, pixel] = 1.0 / cell
            count += 1
        if high - last > 1e-3:
            shares[count, pixel] = min(min(high - last, 1.0), cell) / cell
    return firsts, shares


@compiled_exactly
def _shrunk(grey: Grey, width: int, height: int) -> Grey:
    firsts_x, shares_x = _shares(grey.shape[1], width)
    firsts_y, shares_y = _shares(grey.shape[0], height)
    shrunk, before = np.empty((height, width), np.uint8), np.int64(-1)
    # Wider by what the last pixels would read with a share of 0.
    line = np.zeros(grey.shape[1] + len(shares_x), np.float32)
    row, total = np.empty(width, np.float32), np.empty(width, np.float32)
    for y in range(height):
        total[:] = 0
        for step in range(len(shares_y)):
            share, here = shares_y[step, y], firsts_y[y] + step
            if share == 0:
                continue
            if here != before:  # two target rows may share a source row
                before = here
                for x in range(grey.shape[1]):
                    line[x] = grey[here, x]
                row[:] = 0
                for k in range(len(shares_x)):
                    part, source = shares_x[k], line[k:]
                    for x in range(width):
                        row[x] += source[np.uint32(firsts_x[x])] * part[x]
            for x in range(width):
                total[x] += share * row[x]
        for x in range(width):
            shrunk[y, x] = np.uint8(np.int32(np.rint(total[x])))
    return shrunk


def shrunk_by_area(grey: Grey, width: int, height: int) -> Grey:
    """The same as `cv2.resize` with INTER_AREA, which does whole factors fast and more than the size otherwise."""
    if width > grey.shape[1] or height > grey.shape[0] or (grey.shape[1] % width == 0 and grey.shape[0] % height == 0):
        return cv2.resize(grey, (width, height), interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
    return _shrunk(np.ascontiguousarray(grey), width, height)
