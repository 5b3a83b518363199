"""Fingerprints of many references in a few arrays: no object a reference, and ready to be written and mapped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from shared.fingerprints import Fingerprint
from shared.fingerprints.compiled import Bits, Counts, Grey, Places
from shared.fingerprints.fingerprint import POINT, packed, unpacked

PackedPoints = npt.NDArray[np.void]


@dataclass(frozen=True, eq=False)
class Prints:
    """The fingerprints of m references with n points in all.

    starts int64 (m + 1): the first point of each; points (n): 7 bytes each, as in the bytes of a fingerprint;
    descriptors uint64 (n, 4); wholes uint64 (m, 4); sizes int32 (m, 4): width and height decoded, then of the file;
    pictures uint8: the thumbnails' JPEGs in a row, each from its place in picture_starts int64 (m + 1).
    """

    starts: Places
    points: PackedPoints
    descriptors: Bits
    wholes: Bits
    sizes: Counts
    pictures: Grey
    picture_starts: Places

    @classmethod
    def of(cls, fingerprints: Sequence[Fingerprint]) -> Prints:
        """Put fingerprints in a row."""
        pictures = [np.frombuffer(one.thumbnail_jpeg, np.uint8) for one in fingerprints]
        return cls(
            _starts(len(one.points) for one in fingerprints),
            np.frombuffer(b"".join(packed(one.points) for one in fingerprints), POINT),
            np.concatenate([np.zeros((0, 4), np.uint64), *(one.descriptors for one in fingerprints)]),
            np.array([one.whole for one in fingerprints], np.uint64).reshape(-1, 4),
            np.array([(*one.size_px, *one.original_px) for one in fingerprints], np.int32).reshape(-1, 4),
            np.concatenate([np.zeros(0, np.uint8), *pictures]),
            _starts(len(one) for one in pictures),
        )

    @classmethod
    def joined(cls, parts: Sequence[Prints]) -> Prints:
        """The fingerprints of several, one part after the other."""
        return cls(
            _starts(length for one in parts for length in np.diff(one.starts).tolist()),
            np.concatenate([np.zeros(0, POINT), *(one.points for one in parts)]),
            np.concatenate([np.zeros((0, 4), np.uint64), *(one.descriptors for one in parts)]),
            np.concatenate([np.zeros((0, 4), np.uint64), *(one.wholes for one in parts)]),
            np.concatenate([np.zeros((0, 4), np.int32), *(one.sizes for one in parts)]),
            np.concatenate([np.zeros(0, np.uint8), *(one.pictures for one in parts)]),
            _starts(length for one in parts for length in np.diff(one.picture_starts).tolist()),
        )

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __getitem__(self, place: int) -> Fingerprint:
        first, end = self.starts[place : place + 2].tolist()
        begin, over = self.picture_starts[place : place + 2].tolist()
        width, height, full_width, full_height = self.sizes[place].tolist()
        return Fingerprint(
            self.wholes[place],
            unpacked(self.points[first:end].tobytes()),
            self.descriptors[first:end],
            (width, height),
            (full_width, full_height),
            self.pictures[begin:over].tobytes(),
        )

    def only(self, kept: Places) -> Prints:
        """The fingerprints at some places, in ascending order."""
        if len(kept) == len(self):
            return self
        rows, pixels = _ranges(self.starts, kept), _ranges(self.picture_starts, kept)
        return Prints(
            _starts(np.diff(self.starts)[kept].tolist()),
            self.points[rows],
            self.descriptors[rows],
            self.wholes[kept],
            self.sizes[kept],
            self.pictures[pixels],
            _starts(np.diff(self.picture_starts)[kept].tolist()),
        )

    def arrays(self) -> dict[str, npt.NDArray[np.generic]]:
        """Every array by its name."""
        return {each.name: getattr(self, each.name) for each in fields(self)}


def _starts(lengths: Iterable[int]) -> Places:
    return np.cumsum([0, *lengths], dtype=np.int64)


def _ranges(starts: Places, kept: Places) -> Places:
    """Every position that belongs to the kept ones."""
    lengths = np.diff(starts)[kept]
    firsts = np.cumsum(lengths) - lengths
    positions: Places = np.arange(lengths.sum()) + np.repeat(starts[kept] - firsts, lengths)
    return positions
