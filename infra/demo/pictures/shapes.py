"""Brushes: textures, filled outlines with volume, strokes. Pictures are uint8 (height, width, 3), red first."""

from collections.abc import Sequence
from functools import cache
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
Chance = np.random.Generator
Colour = tuple[int, int, int]
Point = tuple[float, float]

GRAIN_ROOM_PX = 600
_SHIFT = 3  # outlines are given to a sixth of a pixel or so, which smooths them


def to_jpeg(picture: Image, quality: int = 90) -> bytes:
    """The picture as a file."""
    return cv2.imencode(".jpg", picture[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


def from_jpeg(file: bytes) -> Image:
    """The picture of a file; ValueError when it is none."""
    found = cv2.imdecode(np.frombuffer(file, np.uint8), cv2.IMREAD_COLOR)
    if found is None:
        raise ValueError("not a picture")
    return found[:, :, ::-1].astype(np.uint8)


def colour(
    chance: Chance, *, strong: tuple[float, float] = (0.3, 0.8), light: tuple[float, float] = (0.3, 0.9)
) -> Colour:
    """Any hue, within these bounds of saturation and value."""
    pixel = np.array([[[chance.integers(0, 180), 255 * chance.uniform(*strong), 255 * chance.uniform(*light)]]])
    red, green, blue = cv2.cvtColor(pixel.astype(np.uint8), cv2.COLOR_HSV2RGB)[0, 0]
    return int(red), int(green), int(blue)


def tinted(base: Colour, by: float) -> Colour:
    """Lighter (`by` over 1) or darker."""
    red, green, blue = (int(min(255, part * by)) for part in base)
    return red, green, blue


def cloud(chance: Chance, size: tuple[int, int], cells: tuple[int, int]) -> Floats:
    """Smooth chance between -1 and 1 over (width, height), with so many cells across and down."""
    coarse = chance.uniform(-1, 1, (cells[1] + 1, cells[0] + 1)).astype(np.float32)
    return cv2.resize(coarse, size, interpolation=cv2.INTER_CUBIC).astype(np.float32)


def rough(chance: Chance, picture: Image, strength: float) -> Image:
    """The picture with fine grain: every surface has some."""
    height, width = picture.shape[:2]
    x, y = int(chance.integers(0, GRAIN_ROOM_PX)), int(chance.integers(0, GRAIN_ROOM_PX))
    grain = np.rint(_grain()[y : y + height, x : x + width] * strength).astype(np.int16)
    return _bytes(cv2.add(picture, cv2.merge([grain] * 3), dtype=cv2.CV_8U))


@cache
def _grain() -> Floats:
    """Grain for everything, taken at a different place each time: chance is the slow part."""
    side = 1000 + GRAIN_ROOM_PX
    fine = np.random.default_rng(5).standard_normal((side // 2, side // 2), np.float32)
    return cv2.resize(fine, (side, side), interpolation=cv2.INTER_LINEAR).astype(np.float32)


def shaded(picture: Image, light: Floats) -> Image:
    """The picture under a light: 1 leaves it as it is."""
    return _bytes(cv2.multiply(picture, cv2.merge([light] * 3), dtype=cv2.CV_8U))


def _bytes(picture: npt.NDArray[Any]) -> Image:
    return picture.astype(np.uint8, copy=False)


def plain(size: tuple[int, int], tone: Colour) -> Image:
    """One colour over (width, height)."""
    return np.full((size[1], size[0], 3), tone, np.uint8)


def ramp(size: tuple[int, int], top: Colour, bottom: Colour) -> Image:
    """One colour turning into another from top to bottom."""
    share = np.linspace(0, 1, size[1], dtype=np.float32)[:, None, None]
    rows = np.array(top, np.float32) * (1 - share) + np.array(bottom, np.float32) * share
    return np.broadcast_to(rows, (size[1], size[0], 3)).astype(np.uint8, order="C")


def outline(points: Sequence[Point]) -> npt.NDArray[np.int32]:
    """Points as OpenCV's fixed-point outlines."""
    return np.rint(np.array(points, np.float64) * (1 << _SHIFT)).astype(np.int32)


def fill(canvas: Image, points: Sequence[Point], tone: Colour) -> None:
    """A flat area."""
    cv2.fillPoly(canvas, [outline(points)], tone, cv2.LINE_AA, _SHIFT)


def stroke(canvas: Image, points: Sequence[Point], tone: Colour, width: int = 1) -> None:
    """A line through points."""
    cv2.polylines(canvas, [outline(points)], False, tone, width, cv2.LINE_AA, _SHIFT)


def disc(canvas: Image, centre: Point, radii: Point, tone: Colour, angle: float = 0.0) -> None:
    """A filled ellipse."""
    (x, y), (across, down) = outline([centre, radii])
    whole = (int(x), int(y)), (int(across), int(down))
    cv2.ellipse(canvas, *whole, float(np.degrees(angle)), 0, 360, tone, cv2.FILLED, cv2.LINE_AA, _SHIFT)


def oval(centre: Point, radii: Point, angle: float = 0.0, turn: tuple[float, float] = (0, 2 * np.pi)) -> list[Point]:
    """Points of an ellipse, or of a part of it."""
    steps = np.linspace(*turn, 40)
    x, y = radii[0] * np.cos(steps), radii[1] * np.sin(steps)
    cos, sin = np.cos(angle), np.sin(angle)
    return [(centre[0] + a * cos - b * sin, centre[1] + a * sin + b * cos) for a, b in zip(x, y, strict=True)]


def cover(canvas: Image, points: Sequence[Point], texture: Image, *, round_px: float = 40.0) -> None:
    """An area of a texture that lies over the whole canvas, darker towards its rim so that it looks round."""
    xs, ys = [point[0] for point in points], [point[1] for point in points]
    height, width = canvas.shape[:2]
    x0, x1 = max(0, int(min(xs)) - 2), min(width, int(max(xs)) + 3)
    y0, y1 = max(0, int(min(ys)) - 2), min(height, int(max(ys)) + 3)
    if x0 >= x1 or y0 >= y1:
        return
    mask = np.zeros((y1 - y0, x1 - x0), np.uint8)
    cv2.fillPoly(mask, [outline([(x - x0, y - y0) for x, y in points])], 255, cv2.LINE_AA, _SHIFT)
    depth = cv2.distanceTransform((mask > 127).astype(np.uint8), cv2.DIST_L2, 3)
    light = 0.62 + 0.42 * np.sqrt(np.clip(depth / round_px, 0, 1))
    over = shaded(texture[y0:y1, x0:x1], light.astype(np.float32))
    share = mask.astype(np.float32) / 255
    canvas[y0:y1, x0:x1] = cv2.blendLinear(np.ascontiguousarray(canvas[y0:y1, x0:x1]), over, 1 - share, share)


def limb(start: Point, end: Point, widths: tuple[float, float]) -> list[Point]:
    """The outline of an arm or leg: two widths, round ends."""
    direction = np.arctan2(end[1] - start[1], end[0] - start[0])
    around = oval(start, (widths[0], widths[0]), 0, (direction + np.pi / 2, direction + 3 * np.pi / 2))
    return around + oval(end, (widths[1], widths[1]), 0, (direction - np.pi / 2, direction + np.pi / 2))
