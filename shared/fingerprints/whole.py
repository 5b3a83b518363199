"""One hash of the whole picture: 256 bits of its low frequencies, after PDQ.

Source: PDQ (Facebook, "The TMK+PDQF video-hashing algorithm and the PDQ image-hashing algorithm", 2019): the sixteen
lowest frequencies without the mean of a 64 x 64 picture, each above or below their median. Ours starts from a small
grey decode and is never compared with a PDQ that a platform computed.
"""

from __future__ import annotations

import numpy as np

from shared.fingerprints.area import shrunk_by_area
from shared.fingerprints.compiled import Bits, Flags, Grey, Singles, compiled_exactly

SIDE = 64
FREQUENCIES = 16
TURNS = 8
FLAT_TOLERANCE = 6
FLAT_SHARE_MAX = 0.05
TRIMMED_SHARE_MIN = 0.15

_row, _column = np.arange(1, FREQUENCIES + 1)[:, None], np.arange(SIDE)[None]
_COSINES: Singles = (np.sqrt(2 / SIDE) * np.cos(np.pi * (2 * _column + 1) * _row / (2 * SIDE))).astype(np.float32)
_ODD: Singles = np.where(np.arange(1, FREQUENCIES + 1) % 2 == 1, -1.0, 1.0).astype(np.float32)


def _spectrum(grey: Grey) -> Singles:
    small = shrunk_by_area(grey, SIDE, SIDE).astype(np.float32)
    result: Singles = (_COSINES @ small @ _COSINES.T).astype(np.float32, copy=False)
    return result


def _signs(spectra: Singles) -> Bits:
    """Bits of n spectra (n, 256) as uint64 (n, 4)."""
    half = spectra.shape[1] // 2
    middle = np.partition(spectra, [half - 1, half], axis=1)[:, half - 1 : half + 1].mean(axis=1, keepdims=True)
    signs: Bits = np.packbits(spectra > middle, axis=1).view(np.uint64)
    return signs


def whole_hash(grey: Grey) -> Bits:
    """The hash of a picture as it stands, uint64 (4,)."""
    return _signs(_spectrum(grey).reshape(1, -1)).reshape(4)


def turned_hashes(grey: Grey) -> Bits:
    """Hashes of the eight turns of a picture in the order of `turned`, uint64 (8, 4), from one transform.

    Mirroring a picture negates its odd frequencies; a quarter turn also swaps the axes.
    """
    plain = _spectrum(grey)
    mirror, flip = plain * _ODD[None, :], plain * _ODD[:, None]
    half = mirror * _ODD[:, None]
    turns = (plain, mirror.T, half, flip.T, flip, mirror, plain.T, half.T)
    return _signs(np.concatenate([turn.reshape(1, -1) for turn in turns]))


def turned(grey: Grey, turn: int) -> Grey:
    """The picture in one of eight turns: 0-3 quarter turns against the clock, 4 flipped, 5 mirrored, 6-7 across."""
    others = (grey[::-1], grey[:, ::-1], grey.T, grey[::-1, ::-1].T)
    return np.ascontiguousarray(np.rot90(grey, turn) if turn < 4 else others[turn - 4])


@compiled_exactly
def _busy(lines: Grey) -> Flags:
    """Lines (n, pixels) in which more than a few pixels leave the mean."""
    busy = np.zeros(len(lines), np.bool_)
    for number in range(len(lines)):
        line, total, away = lines[number], 0, 0
        for pixel in range(len(line)):
            total += line[pixel]
        mean = total / len(line)
        for pixel in range(len(line)):
            away += abs(line[pixel] - mean) > FLAT_TOLERANCE
        busy[number] = away / len(line) > FLAT_SHARE_MAX
    return busy


def inner_box(grey: Grey) -> tuple[int, int, int, int]:
    """What flat borders leave, as (x0, y0, x1, y1); the whole picture when there are none or too little is left."""
    height, width = grey.shape
    coarse = np.ascontiguousarray(grey[::4, ::4])
    rows = np.flatnonzero(_busy(coarse))
    if len(rows):
        columns = np.flatnonzero(_busy(np.ascontiguousarray(coarse[rows[0] : rows[-1] + 1].T)))
        if len(columns):
            x0, x1, y0, y1 = columns[0], columns[-1] + 1, rows[0], rows[-1] + 1
            least = TRIMMED_SHARE_MIN * np.array(coarse.shape)
            if y1 - y0 >= least[0] and x1 - x0 >= least[1]:
                return int(4 * x0), int(4 * y0), min(width, int(4 * x1)), min(height, int(4 * y1))
    return 0, 0, width, height
