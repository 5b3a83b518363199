"""A little softening, exactly as OpenCV does it, in a fifth of the time.

Source: OpenCV's `GaussianBlur` of bytes (modules/imgproc/src/smooth.dispatch.cpp), which works in fixed point so that
every processor gives the same picture; a unit test compares.
"""

from __future__ import annotations

import numpy as np

from shared.fingerprints.compiled import Grey, compiled

SIGMA_PX = 0.8
MIDDLE, NEXT, OUTER = 128, 58, 6  # of 256: the Gaussian of that width
REACH_PX = 2


@compiled
def softened(grey: Grey) -> Grey:
    """A picture (sides of 3 px and more) after a Gaussian of SIGMA_PX, reflected at its edges."""
    height, width = grey.shape
    along, soft = np.empty((height, width), np.uint16), np.empty((height, width), np.uint8)
    padded = np.empty(width + 2 * REACH_PX, np.uint16)
    middle, near, outer = np.uint32(MIDDLE), np.uint32(NEXT), np.uint32(OUTER)
    for y in range(height):
        line, sums = grey[y], along[y]
        for x in range(width):
            padded[x + REACH_PX] = line[x]
        for x in range(REACH_PX):
            padded[REACH_PX - 1 - x], padded[width + REACH_PX + x] = line[1 + x], line[width - 2 - x]
        for x in range(width):
            sides = near * (np.uint32(padded[x + 1]) + np.uint32(padded[x + 3]))
            ends = outer * (np.uint32(padded[x]) + np.uint32(padded[x + 4]))
            sums[x] = middle * np.uint32(padded[x + 2]) + sides + ends
    for y in range(height):
        a, b, c = along[abs(y - 2)], along[abs(y - 1)], along[y]
        d, e, line = along[_reflected(y + 1, height)], along[_reflected(y + 2, height)], soft[y]
        for x in range(width):
            sides, ends = near * (np.uint32(b[x]) + np.uint32(d[x])), outer * (np.uint32(a[x]) + np.uint32(e[x]))
            line[x] = (middle * np.uint32(c[x]) + sides + ends + np.uint32(1 << 15)) >> np.uint32(16)
    return soft


@compiled
def _reflected(row: int, height: int) -> int:
    return height - 1 - abs(height - 1 - row)
