"""Drawn pictures for tests of recognition: made, encoded, registered and searched for."""

import io
from functools import cache
from typing import Any

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from services.matching.recognition import Match, ReferenceIndex
from shared.fingerprints import (
    Fingerprint,
    Picture,
    QueryFingerprint,
    decode,
    fingerprint_query,
    fingerprint_reference,
)
from shared.fingerprints.compiled import Grey

WIDTH, HEIGHT = 640, 480


# --- pictures ------------------------------------------------------------------------------------------------


@cache
def drawn(seed: int, width: int = WIDTH, height: int = HEIGHT) -> Image.Image:
    """A textured picture: soft ground, many shapes, grain."""
    chance = np.random.default_rng(seed)
    ground = Image.fromarray(chance.integers(0, 255, (7, 9, 3), dtype=np.uint8)).resize((width, height), 3)
    pen = ImageDraw.Draw(ground)
    for _ in range(90):
        x, y, w, h = chance.uniform(0, width), chance.uniform(0, height), *chance.uniform(8, 80, 2)
        colour = tuple(int(value) for value in chance.integers(0, 255, 3))
        corners = [(x + a, y + b) for a, b in chance.uniform(-60, 60, (5, 2))]
        how = chance.integers(3)
        if how == 2:
            pen.polygon(corners, fill=colour)
        else:
            (pen.ellipse if how else pen.rectangle)((x, y, x + w, y + h), fill=colour)
    grain = chance.normal(0, 8, (height, width, 1))
    return Image.fromarray(np.clip(np.asarray(ground) + grain, 0, 255).astype(np.uint8))


def posing(seed: int) -> Image.Image:
    """The same room, the same pose, another face and another dress."""
    room = drawn(500).copy()
    mask = Image.new("L", room.size)
    pen = ImageDraw.Draw(mask)
    pen.ellipse((260, 40, 380, 180), fill=255)
    pen.polygon([(240, 180), (400, 180), (460, 480), (180, 480)], fill=255)
    room.paste(drawn(seed), (0, 0), mask)
    return room


def a_scene(seed: int = 1) -> Grey:
    """Soft texture everywhere, 192 px wide and 144 high."""
    noise = np.random.default_rng(seed).integers(0, 255, (144, 192)).astype(np.float32)
    soft = cv2.GaussianBlur(noise, (0, 0), 2.5)
    return np.clip(128 + 4 * (soft - soft.mean()), 0, 255).astype(np.uint8)


def watermark(image: Image.Image) -> Image.Image:
    """Letters all over it, half seen through."""
    layer = Image.new("RGBA", image.size, (0, 0, 0, 0))
    pen, font = ImageDraw.Draw(layer), ImageFont.load_default(38)
    for y in range(20, image.height, 110):
        for x in range(0, image.width, 230):
            pen.text((x, y), "AI TWIN", font=font, fill=(255, 255, 255, 120))
    return Image.alpha_composite(image.convert("RGBA"), layer).convert("RGB")


# --- files ---------------------------------------------------------------------------------------------------


def saved(image: Image.Image, kind: str = "JPEG", **how: Any) -> bytes:
    """The bytes of a file."""
    stream = io.BytesIO()
    image.save(stream, kind, **how)
    return stream.getvalue()


def encoded(image: Image.Image, quality: int = 85) -> bytes:
    """The bytes of a JPEG file."""
    return saved(image.convert("RGB"), "JPEG", quality=quality)


def read(data: bytes) -> Picture:
    """A file as recognition decodes it."""
    picture = decode(data)
    assert isinstance(picture, Picture), picture
    return picture


def picture_of(image: Image.Image, quality: int = 85) -> Picture:
    """A picture after a journey through a JPEG file."""
    return read(encoded(image, quality))


# --- references and searches ---------------------------------------------------------------------------------


def reference(image: Image.Image) -> Fingerprint:
    """The fingerprint of a picture that is not too plain."""
    made = fingerprint_reference(picture_of(image))
    assert isinstance(made, Fingerprint), made
    return made


def query(image: Image.Image, quality: int = 85) -> QueryFingerprint:
    """What is asked about a published picture."""
    return fingerprint_query(picture_of(image, quality))


def index_of(images: dict[str, Image.Image]) -> ReferenceIndex:
    """Each picture is the reference of a twin of its own."""
    index = ReferenceIndex()
    for name, image in images.items():
        index.add(name, f"twin of {name}", True, reference(image))
    return index


def names(matches: list[Match]) -> list[str]:
    """The references that matches name, best first."""
    return [match.reference_id for match in matches]


def found(index: ReferenceIndex, image: Image.Image, quality: int = 85) -> list[str]:
    """The references that an index finds in a picture."""
    return names(index.search(query(image, quality), livemode=True))


def answers(index: ReferenceIndex, images: list[Image.Image]) -> list[list[Match]]:
    """What an index answers about each of some pictures."""
    return [index.search(query(image), livemode=True) for image in images]
