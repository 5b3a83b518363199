"""One picture per match, for people: the query beside the reference, with what was found drawn on both."""

from __future__ import annotations

import hashlib
import io
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps

from services.matching.recognition.geometry import inverse, mapped, mapped_corners, scaling, visible_outline
from services.matching.recognition.match import Match
from shared.fingerprints import Picture
from shared.fingerprints.compiled import Floats
from shared.fingerprints.decode import FORMATS

HEIGHT_PX = 560
WIDTH_MAX_PX = 1000  # of one side; a panorama makes both lower
GAP_PX, LINE_PX, STRIP_PX = 12, 4, 64
NAME_LENGTH_MAX = 60
INK, GROUND, LINE = "white", "black", "lime"


@dataclass(frozen=True, eq=False)
class Looked:
    """A file that was decoded, which means that it keeps to the limits: its name, its bytes and the grey picture."""

    name: str
    data: bytes
    picture: Picture

    @property
    def size_px(self) -> tuple[int, int]:
        """(width, height) of the original, upright."""
        return self.picture.width_px, self.picture.height_px


def explain(query: Looked, reference: Looked, match: Match) -> Image.Image:
    """Both side by side at one height, what is seen of the reference outlined on both, and the match in words."""
    height = min([HEIGHT_PX, *(int(WIDTH_MAX_PX * high / wide) for wide, high in (query.size_px, reference.size_px))])
    left, right = (_shown(side, height) for side in (query, reference))
    on_query, on_reference = _outlines(np.array(match.transform), reference.size_px, query.size_px)
    _draw(left, on_query, query.size_px)
    _draw(right, on_reference, reference.size_px)
    sheet = Image.new("RGB", (max(2 * HEIGHT_PX, left.width + GAP_PX + right.width), height + STRIP_PX), GROUND)
    sheet.paste(left, (0, STRIP_PX))
    sheet.paste(right, (left.width + GAP_PX, STRIP_PX))
    pen = ImageDraw.Draw(sheet)
    pen.text((8, 4), f"score {match.score:.3f}: {match.description}", INK, ImageFont.load_default(22))
    pen.text((8, 36), f"left {query.name}, right {reference.name}", INK, ImageFont.load_default(16))
    return sheet


def file_name(query: str, reference: str) -> str:
    """A plain name that no other pair has, whatever the two are called."""
    digest = hashlib.sha256(f"{query}\0{reference}".encode(errors="surrogateescape")).hexdigest()[:16]
    return f"{_plain(query)}--{_plain(reference)}--{digest}.jpg"


def _plain(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "_", name)[-NAME_LENGTH_MAX:].lstrip(".")


def write(folder: Path, query: Looked, reference: Looked, match: Match) -> Path:
    """Write the picture of a match into a folder; raises OSError."""
    path = folder / file_name(query.name, reference.name)
    explain(query, reference, match).save(path, "JPEG", quality=85)
    return path


def _outlines(matrix: Floats, reference_px: tuple[int, int], query_px: tuple[int, int]) -> tuple[Floats, Floats]:
    """What is visible of the reference, in pixels of the query and in its own."""
    on_query = visible_outline(matrix, reference_px, query_px)
    if on_query is None:  # a map that folds the picture has no visible part: its corners are drawn as they fall
        return mapped_corners(matrix, reference_px), np.zeros((0, 2))
    return on_query, mapped(on_query, inverse(matrix))


def _draw(image: Image.Image, outline: Floats, original_px: tuple[int, int]) -> None:
    if len(outline) < 2:
        return
    places = mapped(outline, scaling(original_px, image.size))
    inset = LINE_PX // 2  # a line along the rim stays visible
    ring = [
        (min(max(x, inset), image.width - 1 - inset), min(max(y, inset), image.height - 1 - inset))
        for x, y in [*places.tolist(), places[0].tolist()]
    ]
    pen = ImageDraw.Draw(image)
    pen.line(ring, GROUND, LINE_PX + 3, joint="curve")
    pen.line(ring, LINE, LINE_PX, joint="curve")


def _shown(looked: Looked, height: int) -> Image.Image:
    """The picture upright in RGB at a height: in colour where Pillow can, else in grey."""
    wide, high = looked.size_px
    size = (max(1, round(wide * height / high)), height)
    try:
        image = _in_colour(looked.data, max(size))
    except Exception:  # colour is for the eye alone, and the grey picture is there already
        image = Image.fromarray(looked.picture.grey)
    return image.convert("RGB").resize(size, Image.Resampling.LANCZOS)


def _in_colour(data: bytes, side_px: int) -> Image.Image:
    """The first frame, upright, alpha over white; raises what Pillow raises."""
    with Image.open(io.BytesIO(data), formats=FORMATS) as opened:
        opened.seek(0)
        opened.draft(opened.mode, (side_px, side_px))
        if opened.mode.startswith(("I", "F")):
            raise ValueError("samples deeper than 8 bits")
        image = ImageOps.exif_transpose(opened)
    if "transparency" in image.info or image.mode in ("RGBA", "LA", "PA", "La", "RGBa"):
        layer = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
    return image.convert("RGB")
