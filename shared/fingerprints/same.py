"""Whether two references are one picture: saved again, resized, stretched, turned, mirrored, recoloured, captioned.

Narrower than recognition, which also finds parts: here the whole of one picture is the whole of the other. Of 788
different photographs, second takes of scenes among them, no two come nearer than 68 bits, nor do more than .48 of their
blocks agree; what is saved again stays within 14 bits and above .8.
"""

from __future__ import annotations

import cv2
import numpy as np

from shared.fingerprints.compiled import Bits, Floats, Grey
from shared.fingerprints.fingerprint import Fingerprint
from shared.fingerprints.whole import turned, turned_hashes

DISTANCE_MAX_BITS = 64  # of 256
SIDE_PX, BLOCK_PX = 96, 16
TEXTURE_MIN = 16.0  # variance of a block that tells something
SAME_BLOCK = 0.8
SAME_SHARE_MIN = 0.75


def turns_of(fingerprint: Fingerprint) -> Bits:
    """The hashes of a reference in its eight turns, uint64 (8, 4)."""
    return turned_hashes(fingerprint.thumbnail)


def is_same_picture(one: Fingerprint, other: Fingerprint) -> bool:
    """Whether one of the eight turns of the first looks like the second: by their hashes, then by their thumbnails."""
    distances = np.bitwise_count(turns_of(one) ^ other.whole).sum(axis=1)
    likely = np.flatnonzero(distances <= DISTANCE_MAX_BITS)
    return any(_alike(turned(one.thumbnail, int(turn)), other.thumbnail) for turn in likely)


def _alike(one: Grey, other: Grey) -> bool:
    a, b = _blocks(one), _blocks(other)
    telling = np.maximum(a.var(axis=1), b.var(axis=1)) > TEXTURE_MIN
    same = _correlation(a, b)[telling] > SAME_BLOCK
    return bool(len(same) and same.mean() >= SAME_SHARE_MIN)


def _blocks(grey: Grey) -> Floats:
    """The picture at 96 x 96, as blocks (36, 256)."""
    count = SIDE_PX // BLOCK_PX
    small = cv2.resize(grey, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_AREA).astype(np.float64)
    return small.reshape(count, BLOCK_PX, count, BLOCK_PX).swapaxes(1, 2).reshape(count * count, -1)


def _correlation(a: Floats, b: Floats) -> Floats:
    """Of each row of a with the same row of b."""
    a, b = a - a.mean(axis=1, keepdims=True), b - b.mean(axis=1, keepdims=True)
    # Rows without texture agree with nothing but each other.
    result: Floats = ((a * b).sum(axis=1) + 1) / np.sqrt(((a * a).sum(axis=1) + 1) * ((b * b).sum(axis=1) + 1))
    return result
