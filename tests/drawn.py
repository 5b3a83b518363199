"""Drawn pictures for recognition: made, decoded and registered on a shelf."""

import io
from collections.abc import Callable, Iterable
from typing import Any

import cv2
import numpy as np
from PIL import Image, ImageDraw

from services.matching.recognition.search import search_shelf
from services.matching.recognition.shelf import Entry, Shelf
from services.matching.recognition.tables import EXACT
from shared.fingerprints import Fingerprint, Picture, decode, fingerprint_query, fingerprint_reference
from shared.fingerprints.compiled import Grey


def a_picture(seed: int, width: int = 480, height: int = 640) -> Image.Image:
    """Shapes of all sizes on soft light."""
    chance = np.random.default_rng(seed)
    light = cv2.resize(
        chance.integers(60, 200, (5, 4)).astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC
    )
    picture = Image.fromarray(np.clip(light, 0, 255).astype(np.uint8)).convert("RGB")
    pen = ImageDraw.Draw(picture)
    for _ in range(160):
        x, y = chance.uniform(0, width), chance.uniform(0, height)
        across, down = chance.uniform(8, 70, 2)
        draw = pen.ellipse if chance.random() < 0.5 else pen.rectangle
        draw((x, y, x + across, y + down), fill=tuple(chance.integers(30, 225, 3).tolist()))
    return picture


def a_scene(seed: int = 1) -> Grey:
    """Soft texture everywhere, 192 px wide and 144 high."""
    noise = np.random.default_rng(seed).integers(0, 255, (144, 192)).astype(np.float32)
    soft = cv2.GaussianBlur(noise, (0, 0), 2.5)
    return np.clip(128 + 4 * (soft - soft.mean()), 0, 255).astype(np.uint8)


def encoded(image: Image.Image, kind: str = "JPEG", **how: Any) -> bytes:
    """The bytes of a file."""
    stream = io.BytesIO()
    image.save(stream, kind, **how)
    return stream.getvalue()


def read(data: bytes) -> Picture:
    """A file as recognition decodes it."""
    picture = decode(data)
    assert isinstance(picture, Picture)
    return picture


def decoded(image: Image.Image) -> Picture:
    """A picture after a journey through a JPEG file."""
    return read(encoded(image, quality=85))


def a_shelf(draw: Callable[[int], Image.Image], seeds: Iterable[int]) -> Shelf:
    """References `ref-SEED`, each of a twin of its own; those that are too plain are left out."""
    made = {seed: fingerprint_reference(decoded(draw(seed))) for seed in seeds}
    entries = [Entry(f"ref-{seed}", f"twin-{seed}", one) for seed, one in made.items() if isinstance(one, Fingerprint)]
    return Shelf.of(entries, EXACT)


def shown(shelf: Shelf, picture: Picture) -> list[str]:
    """The references that a picture shows, best first."""
    return [match.reference_id for match in search_shelf(shelf, fingerprint_query(picture), lambda *_: None)]
