"""What is kept of a picture so that it can be recognised: of a reference for good, of a query for some days."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import cv2
import numpy as np

from shared.fingerprints.compiled import Bits, Grey, Singles
from shared.fingerprints.decode import WORK_SIDE_MAX_PX, Picture, shrink
from shared.fingerprints.features import REFERENCE, WORDS, Features, FoundFeatures, find_features, query_features
from shared.fingerprints.whole import whole_hash

ALGORITHM = "tf1"
THUMBNAIL_SIDE_PX, THUMBNAIL_SIDE_MIN_PX = 192, 3
THUMBNAIL_QUALITY = 92
POINTS_MIN, POINTS_MAX = 40, 4096
ORIGINAL_SIDE_MAX_PX = 2**31 - 1
SPAN_SHARE_MIN = 0.02  # of the picture: points that all sit in one corner are a mark on a plain wall

_REFERENCE_HEAD = struct.Struct("<4sBHHIIHI")
_QUERY_HEAD = struct.Struct("<4sIII")
_REFERENCE_MAGIC, _QUERY_MAGIC = b"tf1R", b"tf1Q"
POINT = np.dtype([("x", "<u2"), ("y", "<u2"), ("log_scale", "u1"), ("angle", "<u2")])
# A quarter of the time of the usual level 6, and a little smaller: photos hold nothing that repeats (about 77 kB).
_FAST_PNG = (cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE)
_PER_PX, _PER_LOG, _PER_RADIAN = 64.0, 100.0, 65_536 / (2 * math.pi)


@dataclass(frozen=True)
class TooPlain:
    """A picture that could not be told from others: no fingerprint.

    measured: the figures that decided, `points` and `span_share`; needed: at least so much of each.
    """

    reason: str
    measured: dict[str, float]
    needed: dict[str, float]


@dataclass(frozen=True, eq=False)
class Fingerprint:
    """Fingerprint of a reference.

    points: float32 (n, 4), x and y in pixels of the decoded picture, log of scale, angle in radians; descriptors:
    uint64 (n, 4); whole: uint64 (4,), 32 bytes; size_px: (width, height) of the decoded picture; original_px: that of
    the file; thumbnail_jpeg: grey, longer side 192 px. All values are as they are after a journey through bytes.
    """

    whole: Bits
    points: Singles
    descriptors: Bits
    size_px: tuple[int, int]
    original_px: tuple[int, int]
    thumbnail_jpeg: bytes

    @property
    def global_hash(self) -> bytes:
        """The hash of the whole picture, 32 bytes."""
        return self.whole.tobytes()

    @cached_property
    def thumbnail(self) -> Grey:
        """Grey uint8 with the longer side at most 192 px."""
        return _unpacked_picture(self.thumbnail_jpeg)

    def to_bytes(self) -> bytes:
        """Compact form: 39 bytes a point and a small JPEG; about 24 kB."""
        head = _REFERENCE_HEAD.pack(
            _REFERENCE_MAGIC, 1, *self.size_px, *self.original_px, len(self.points), len(self.thumbnail_jpeg)
        )
        words = self.descriptors.astype("<u8").tobytes()
        return b"".join((head, self.global_hash, packed(self.points), words, self.thumbnail_jpeg))

    @classmethod
    def from_bytes(cls, data: bytes) -> Fingerprint:
        """Read what `to_bytes` wrote; raises ValueError with the reason on anything else."""
        if len(data) < _REFERENCE_HEAD.size + 32 or data[:4] != _REFERENCE_MAGIC:
            raise ValueError("not a fingerprint of a reference")
        _, version, width, height, full_width, full_height, count, picture_bytes = _REFERENCE_HEAD.unpack_from(data)
        if version != 1:
            raise ValueError(f"fingerprint of unknown version {version}")
        if not 0 < count <= POINTS_MAX:
            raise ValueError(f"a fingerprint of a reference has 1 to {POINTS_MAX} points, not {count}")
        sizes = np.cumsum([_REFERENCE_HEAD.size, 32, count * POINT.itemsize, count * WORDS * 8, picture_bytes])
        if len(data) != sizes[-1]:
            raise ValueError(f"fingerprint has {len(data)} bytes, {sizes[-1]} were announced")
        _check_sizes((width, height), (full_width, full_height))
        whole, points, words, picture = (data[a:b] for a, b in pairwise(sizes))
        result = cls(
            np.frombuffer(whole, np.uint64),
            unpacked(points),
            np.frombuffer(words, "<u8").astype(np.uint64).reshape(-1, WORDS),
            (width, height),
            (full_width, full_height),
            picture,
        )
        if not THUMBNAIL_SIDE_MIN_PX <= min(result.thumbnail.shape) <= max(result.thumbnail.shape) <= THUMBNAIL_SIDE_PX:
            height, width = result.thumbnail.shape
            raise ValueError(f"the thumbnail of the fingerprint is {width} x {height} px, which cannot be")
        return result


@dataclass(frozen=True, eq=False)
class QueryFingerprint:
    """What is kept of a published picture: its grey decode, and the features found in it.

    original_px: (width, height) of the file, in whose pixels matches are told.
    """

    grey: Grey
    original_px: tuple[int, int]
    features: FoundFeatures

    @property
    def too_plain(self) -> TooPlain | None:
        """Why a reference like this would be refused, if it would: that nothing matched then says little."""
        height, width = self.grey.shape
        return too_plain(self.features, (width, height))

    def to_bytes(self) -> bytes:
        """The picture without loss (features are found again), so that a later search gives the same answer."""
        height, width = self.grey.shape
        _, picture = cv2.imencode(".png", self.grey, _FAST_PNG)
        return _QUERY_HEAD.pack(_QUERY_MAGIC, *self.original_px, height << 16 | width) + picture.tobytes()

    @classmethod
    def from_bytes(cls, data: bytes) -> QueryFingerprint:
        """Read what `to_bytes` wrote; raises ValueError with the reason on anything else."""
        if len(data) < _QUERY_HEAD.size or data[:4] != _QUERY_MAGIC:
            raise ValueError("not a fingerprint of a query")
        _, full_width, full_height, packed = _QUERY_HEAD.unpack_from(data)
        _check_sizes((packed & 0xFFFF, packed >> 16), (full_width, full_height))
        grey = _unpacked_picture(data[_QUERY_HEAD.size :])
        if grey.shape != (packed >> 16, packed & 0xFFFF):
            raise ValueError("the picture of the fingerprint has another size than announced")
        return cls(grey, (full_width, full_height), query_features(grey))


def fingerprint_reference(picture: Picture) -> Fingerprint | TooPlain:
    """Fingerprint of a picture to be registered, or why it could not be recognised later."""
    features = find_features(picture.grey, REFERENCE)
    height, width = picture.grey.shape
    plain = too_plain(features, (width, height))
    if plain is not None:
        return plain
    thumbnail = _small_jpeg(picture.grey)
    # Points are rounded as bytes round them: an index built from events equals the one at registration.
    return Fingerprint(
        whole_hash(picture.grey),
        unpacked(packed(features.points)),
        features.descriptors,
        (width, height),
        (picture.width_px, picture.height_px),
        thumbnail,
    )


def fingerprint_query(picture: Picture) -> QueryFingerprint:
    """Fingerprint of a published picture."""
    return QueryFingerprint(picture.grey, (picture.width_px, picture.height_px), query_features(picture.grey))


def too_plain(features: Features, size_px: tuple[int, int]) -> TooPlain | None:
    """The one rule, for references and queries: too few points, or all in one small place of a (width, height)."""
    span = _span_share(features.points, size_px[0] * size_px[1])
    measured = {"points": float(len(features)), "span_share": round(span, 4)}
    needed = {"points": float(POINTS_MIN), "span_share": SPAN_SHARE_MIN}
    if len(features) < POINTS_MIN:
        reason = f"{len(features)} points that stand out where {POINTS_MIN} are needed"
        return TooPlain(f"too plain to recognise: {reason}", measured, needed)
    if span < SPAN_SHARE_MIN:
        reason = f"all that stands out sits in one small place, {span:.1%} of the picture where {SPAN_SHARE_MIN:.0%}"
        return TooPlain(f"too plain to recognise: {reason} are needed", measured, needed)
    return None


def _span_share(points: Singles, area: int) -> float:
    """Share of the picture that the middle nine tenths of the points span."""
    if len(points) == 0:
        return 0.0
    low, high = np.percentile(points[:, :2], [5, 95], axis=0)
    return float(np.prod(high - low)) / area


def _small_jpeg(grey: Grey) -> bytes:
    small = shrink(grey, THUMBNAIL_SIDE_PX)
    return cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, THUMBNAIL_QUALITY])[1].tobytes()


def _unpacked_picture(data: bytes) -> Grey:
    try:
        grey = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE) if data else None
    except cv2.error as problem:
        raise ValueError("the picture of the fingerprint is damaged") from problem
    if grey is None:
        raise ValueError("the picture of the fingerprint is damaged")
    return grey.astype(np.uint8, copy=False)


def _check_sizes(size_px: tuple[int, int], original_px: tuple[int, int]) -> None:
    if (
        not 0 < min(size_px) <= max(size_px) <= WORK_SIDE_MAX_PX
        or not 0 < min(original_px) <= max(original_px) <= ORIGINAL_SIDE_MAX_PX
    ):
        raise ValueError(f"a fingerprint of a picture of {size_px} of {original_px} px cannot be")


def packed(points: Singles) -> bytes:
    """Points as the bytes of a fingerprint hold them, 7 bytes each."""
    rows = np.empty(len(points), POINT)
    rows["x"] = np.clip(np.rint((points[:, 0] + 1) * _PER_PX), 0, 65_535)
    rows["y"] = np.clip(np.rint((points[:, 1] + 1) * _PER_PX), 0, 65_535)
    rows["log_scale"] = np.rint(points[:, 2] * _PER_LOG)
    rows["angle"] = np.rint(points[:, 3] * _PER_RADIAN).astype(np.int64) % 65_536
    return rows.tobytes()


def unpacked(data: bytes) -> Singles:
    """Points from such bytes."""
    rows = np.frombuffer(data, POINT)
    points = np.empty((len(rows), 4), np.float32)
    points[:, 0] = rows["x"] / _PER_PX - 1
    points[:, 1] = rows["y"] / _PER_PX - 1
    points[:, 2] = rows["log_scale"] / _PER_LOG
    points[:, 3] = rows["angle"] / _PER_RADIAN
    return points
