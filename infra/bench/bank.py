"""Real descriptors for the bench of the index: photos and 20 edits of each, described once and kept.

Random codes mislead: keys of real descriptors meet far more often. So a made-up reference has the points of a real
picture, each with as many bits flipped as an edit flips, and with their places exchanged, so that it shows nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np
from rich.console import Console
from rich.progress import track

from services.matching.recognition.alignment import align, grid_of
from services.matching.recognition.geometry import mirror, scaling, shift
from shared.fingerprints import Fingerprint, Picture, Undecodable, decode, fingerprint_query, fingerprint_reference
from shared.fingerprints.compiled import Bits, Counts, Floats, Grey, Singles
from shared.fingerprints.features import Features

FORMAT = 1
QUERIES_EVERY = 4  # every fourth photo is kept out of the bank: it is registered as it is and searched for
Made = tuple[Grey, Floats]  # a picture and the map from the photo to it


def _scaled(grey: Grey, factor: float) -> Made:
    small = cv2.resize(grey, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
    return small, scaling(grey.shape[::-1], small.shape[::-1])


def _cropped(grey: Grey, share: float, chance: np.random.Generator) -> Made:
    height, width = grey.shape
    side = math.sqrt(share)
    w, h = round(width * side), round(height * side)
    x, y = int(chance.integers(0, width - w + 1)), int(chance.integers(0, height - h + 1))
    return np.ascontiguousarray(grey[y : y + h, x : x + w]), shift(-x, -y)


def _rotated(grey: Grey, degrees: float) -> Made:
    height, width = grey.shape
    matrix = np.eye(3)
    matrix[:2] = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1.0)
    turned = cv2.warpAffine(grey, matrix[:2], (width, height), borderMode=cv2.BORDER_REFLECT)
    return turned.astype(np.uint8, copy=False), matrix


def _jpeg(grey: Grey, quality: int) -> Made:
    _, data = cv2.imencode(".jpg", grey, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_GRAYSCALE), np.uint8), np.eye(3)


def _toned(grey: Grey, gain: float, offset: float = 0.0, gamma: float = 1.0) -> Made:
    values = 255 * (grey / 255.0) ** gamma * gain + offset
    return np.clip(values, 0, 255).astype(np.uint8), np.eye(3)


def _mirrored(grey: Grey) -> Made:
    return np.ascontiguousarray(grey[:, ::-1]), mirror(grey.shape[1])


def _covered(grey: Grey, share: float, chance: np.random.Generator) -> Made:
    height, width = grey.shape
    w, h = round(width * math.sqrt(share)), round(height * math.sqrt(share))
    x, y = int(chance.integers(0, width - w + 1)), int(chance.integers(0, height - h + 1))
    result = grey.copy()
    result[y : y + h, x : x + w] = np.kron(chance.integers(0, 255, (8, 8)), np.ones((h // 8 + 1, w // 8 + 1)))[:h, :w]
    return result, np.eye(3)


def _lettered(grey: Grey) -> Made:
    result = grey.copy()
    for line, text in enumerate(("nobody noticed what", "she wore that evening")):
        place = (12, round(grey.shape[0] * 0.75) + 34 * line)
        cv2.putText(result, text, place, cv2.FONT_HERSHEY_DUPLEX, 0.9, 255 * (line % 2), 2)
    return result, np.eye(3)


def _noisy(grey: Grey, spread: float, chance: np.random.Generator) -> Made:
    return np.clip(grey + chance.normal(0, spread, grey.shape), 0, 255).astype(np.uint8), np.eye(3)


def _blurred(grey: Grey, spread: float) -> Made:
    return cv2.GaussianBlur(grey, (0, 0), spread).astype(np.uint8, copy=False), np.eye(3)


def _after(first: Made, then: Callable[[Grey], Made]) -> Made:
    grey, matrix = then(first[0])
    return grey, matrix @ first[1]


EDITS: Sequence[Callable[[Grey, np.random.Generator], Made]] = (
    lambda grey, _: _jpeg(grey, 60),
    lambda grey, _: _jpeg(grey, 30),
    lambda grey, _: _jpeg(grey, 10),
    lambda grey, _: _scaled(grey, 0.75),
    lambda grey, _: _scaled(grey, 0.5),
    lambda grey, chance: _cropped(grey, 0.8, chance),
    lambda grey, chance: _cropped(grey, 0.5, chance),
    lambda grey, chance: _cropped(grey, 0.25, chance),
    lambda grey, _: _rotated(grey, 4),
    lambda grey, _: _rotated(grey, -17),
    lambda grey, _: _mirrored(grey),
    lambda grey, _: _toned(grey, 0.6),
    lambda grey, _: _toned(grey, 1.4, -40),
    lambda grey, _: _toned(grey, 1.0, 0, 1.6),
    lambda grey, _: _blurred(grey, 1.5),
    lambda grey, chance: _noisy(grey, 14, chance),
    lambda grey, chance: _covered(grey, 0.25, chance),
    lambda grey, _: _lettered(grey),
    lambda grey, chance: _after(_cropped(grey, 0.4, chance), lambda part: _jpeg(_mirrored(part)[0], 25)),
    lambda grey, chance: _after(_scaled(grey, 0.6), lambda part: _noisy(_lettered(part)[0], 8, chance)),
)
MIRRORING = frozenset({10, 18})


@dataclass(frozen=True, eq=False)
class Bank:
    """Fingerprints of photos and their edits, how many bits an edit flips, and photos to be searched with edits."""

    filling: list[Fingerprint]
    flips: Counts
    wanted: list[Fingerprint]
    queries: list[tuple[int, Picture]]

    @cached_property
    def _masks(self) -> Bits:
        """Bits to be flipped, uint64 (65,536, 4)."""
        chance = np.random.default_rng(0)
        rows = [_flipping(chance.choice(self.flips, 4_096), chance) for _ in range(16)]
        return np.concatenate(rows)

    def made_up(self, number: int) -> Fingerprint:
        """A reference that shows nothing; the same for the same number."""
        chance = np.random.default_rng(number)
        real = self.filling[int(chance.integers(len(self.filling)))]
        points = real.points.copy()
        points[:, :2] = points[chance.permutation(len(points)), :2]
        points[:, 3] = points[chance.permutation(len(points)), 3]
        words = real.descriptors ^ self._masks[chance.integers(len(self._masks), size=len(points))]
        far = chance.integers(0, 2**63, 4, np.uint64) & chance.integers(0, 2**63, 4, np.uint64)
        return Fingerprint(real.whole ^ far, points, words, real.size_px, real.original_px, real.thumbnail_jpeg)


def _flipping(counts: Counts, chance: np.random.Generator) -> Bits:
    """Rows of 256 bits, uint64 (n, 4), of which about so many are set."""
    bits = chance.random((len(counts), 256), np.float32) < (counts[:, None] / 256.0).astype(np.float32)
    return np.packbits(bits, axis=1).view(np.uint64)


def _flips(photo: Fingerprint, edit: int, made: Made) -> Counts:
    """How far in bits the points of a photo are from those that they meet in an edit of it."""
    grey, matrix = made
    features = fingerprint_query(Picture(grey, grey.shape[1], grey.shape[0], "")).features
    if edit in MIRRORING:
        features, matrix = features.mirrored(grey.shape[1]), mirror(grey.shape[1]) @ matrix
    grid = grid_of(features.points, float(grey.shape[1]), float(grey.shape[0]))
    source = Features(photo.points, photo.descriptors)
    partners = align(source, features, grid, matrix).partners
    met = partners >= 0
    apart = photo.descriptors[met] ^ features.descriptors[partners[met]]
    flips: Counts = np.bitwise_count(apart).sum(axis=1).astype(np.int32)
    return flips


@dataclass(frozen=True, eq=False)
class _Described:
    """One photo: its fingerprint, its edits as references or as pictures, and the bits that they flip."""

    photo: Fingerprint
    filling: list[Fingerprint]
    queries: list[Picture]
    flips: Counts


def _described(task: tuple[Path, bool]) -> _Described | None:
    path, wanted = task
    picture = decode(path.read_bytes())
    if isinstance(picture, Undecodable):
        return None
    photo = fingerprint_reference(picture)
    if not isinstance(photo, Fingerprint):
        return None
    chance = np.random.default_rng(len(path.name))
    made = [edit(picture.grey, chance) for edit in EDITS]
    pictures = [Picture(grey, grey.shape[1], grey.shape[0], "") for grey, _ in made]
    if wanted:
        return _Described(photo, [], pictures, np.zeros(0, np.int32))
    prints = [one for one in map(fingerprint_reference, pictures) if isinstance(one, Fingerprint)]
    flips = [_flips(photo, number, one) for number, one in enumerate(made)]
    return _Described(photo, [photo, *prints], [], np.concatenate(flips))


def _all_described(photos: Sequence[Path], jobs: int, console: Console) -> Iterator[_Described]:
    tasks = [(path, number % QUERIES_EVERY == 0) for number, path in enumerate(photos)]
    with ProcessPoolExecutor(jobs) as pool:
        done = pool.map(_described, tasks, chunksize=4)
        for one in track(done, "describing photos", total=len(tasks), console=console):
            if one is not None:
                yield one


def bank_of(photos: Sequence[Path], cache: Path, jobs: int, console: Console) -> Bank:
    """The bank of these photos, read from the folder `cache` when it was made of the same ones."""
    path = cache / f"bank-{FORMAT}-{len(photos)}.npz"
    if not path.is_file():
        cache.mkdir(parents=True, exist_ok=True)
        _write(path, list(_all_described(photos, jobs, console)))
    return _read(path)


def _write(path: Path, described: list[_Described]) -> None:
    wanted = [one for one in described if one.queries]
    filling = [each.to_bytes() for one in described for each in one.filling]
    pictures = [picture.grey for one in wanted for picture in one.queries]
    temporary = path.with_suffix(".part.npz")
    np.savez(
        temporary,
        filling=np.frombuffer(b"".join(filling), np.uint8),
        filling_lengths=[len(one) for one in filling],
        wanted=np.frombuffer(b"".join(one.photo.to_bytes() for one in wanted), np.uint8),
        wanted_lengths=[len(one.photo.to_bytes()) for one in wanted],
        shown=[number for number, one in enumerate(wanted) for _ in one.queries],
        shapes=[grey.shape for grey in pictures],
        pictures=np.concatenate([grey.ravel() for grey in pictures]),
        flips=np.concatenate([one.flips for one in described]),
    )
    temporary.rename(path)


def _read(path: Path) -> Bank:
    with np.load(path) as kept:
        filling = _prints(kept["filling"], kept["filling_lengths"])
        wanted = _prints(kept["wanted"], kept["wanted_lengths"])
        shapes = kept["shapes"]
        greys = np.split(kept["pictures"], np.cumsum(shapes.prod(axis=1))[:-1])
        shown = kept["shown"].tolist()
        flips = kept["flips"]
    pictures = [
        Picture(np.ascontiguousarray(grey.reshape(shape)), int(shape[1]), int(shape[0]), "")
        for grey, shape in zip(greys, shapes, strict=True)
    ]
    return Bank(filling, flips, wanted, list(zip(shown, pictures, strict=True)))


def _prints(data: Singles, lengths: Counts) -> list[Fingerprint]:
    ends = np.cumsum(lengths)
    return [
        Fingerprint.from_bytes(data[end - length : end].tobytes()) for end, length in zip(ends, lengths, strict=True)
    ]
