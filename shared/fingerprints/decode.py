"""Untrusted bytes to a small grey picture, or the reason why not."""

from __future__ import annotations

import io
import struct
import zlib
from dataclasses import dataclass

import cv2
import numpy as np
import simplejpeg
from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    JpegImagePlugin,
    MpoImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    UnidentifiedImageError,
    WebPImagePlugin,
)

from shared.fingerprints.area import shrunk_by_area
from shared.fingerprints.compiled import Grey, Singles

BYTES_MAX = 25 * 1024 * 1024
PIXELS_MAX = 100_000_000
SIDE_MIN_PX = 16
ASPECT_MAX = 32
WORK_SIDE_PX, NARROW_WORK_SIDE_PX, WORK_SIDE_MAX_PX = 512, 341, 1024
# Only these parsers ever see a stranger's bytes. Importing a plugin registers its format.
PLUGINS = (
    JpegImagePlugin,
    MpoImagePlugin,
    PngImagePlugin,
    WebPImagePlugin,
    GifImagePlugin,
    AvifImagePlugin,
    TiffImagePlugin,
    BmpImagePlugin,
)
FORMATS = tuple(name for name in ("JPEG", "MPO", "PNG", "WEBP", "GIF", "AVIF", "TIFF", "BMP") if name in Image.OPEN)
EXIF_ORIENTATION = 0x0112
DEEP_ROWS = 256

# Pillow looks at this before it reads pixels: above it warns, above twice as much it refuses.
Image.MAX_IMAGE_PIXELS = PIXELS_MAX


@dataclass(frozen=True, eq=False)
class Picture:
    """A decoded picture: grey uint8 (height, width) with the longer side at most `work_side_px`, upright.

    `width_px` and `height_px` are those of the original, after its EXIF orientation was honoured.
    """

    grey: Grey
    width_px: int
    height_px: int
    format: str


@dataclass(frozen=True)
class Undecodable:
    """Why bytes are no picture for us. A value, never an exception."""

    reason: str


def decode(data: bytes) -> Picture | Undecodable:
    """Decode the first frame of any common image file; never raises on bad input.

    Limits are checked on the header, before any pixel is decoded: 25 MiB, 100 million pixels, sides of 16 px and more.
    """
    if not data:
        return Undecodable("the file is empty")
    if len(data) > BYTES_MAX:
        return Undecodable(f"the file has {len(data)} bytes, more than {BYTES_MAX}")
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            return _too_odd(image) or _picture(data, image)
    except UnidentifiedImageError:
        return Undecodable("not an image of a known format")
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        return Undecodable(f"the picture has more than {PIXELS_MAX} pixels")
    except MemoryError:
        return Undecodable("the picture needs too much memory")
    except (OSError, ValueError, TypeError, SyntaxError, EOFError, OverflowError, zlib.error, struct.error) as problem:
        return Undecodable(f"damaged or truncated: {problem}"[:200])
    except (cv2.error, ArithmeticError, LookupError, AttributeError, RuntimeError, Warning) as problem:
        # Pillow's parsers meet hostile files with whatever they stumble over; a warning where warnings are errors.
        return Undecodable(f"damaged: {type(problem).__name__}"[:200])


def _too_odd(image: Image.Image) -> Undecodable | None:
    width, height = image.size
    if width * height > PIXELS_MAX:
        return Undecodable(f"the picture has {width * height} pixels, more than {PIXELS_MAX}")
    if min(width, height) < SIDE_MIN_PX:
        return Undecodable(f"the picture is {width} x {height} px, a side is under {SIDE_MIN_PX}")
    if max(width, height) > ASPECT_MAX * min(width, height):
        return Undecodable(f"the picture is {width} x {height} px, longer than {ASPECT_MAX} times its width")
    return None


def _picture(data: bytes, image: Image.Image) -> Picture:
    width, height = image.size
    orientation = _orientation(image)
    grey = _jpeg_grey(data, image)
    if grey is None:
        grey = _any_grey(image)
    if orientation >= 5:
        width, height = height, width
    grey = _upright(shrink(grey, work_side_px(image.size)), orientation)
    return Picture(grey, width, height, "JPEG" if image.format == "MPO" else str(image.format))


def work_side_px(size_px: tuple[int, int]) -> int:
    """The longer side of a decode: 512 px, or what leaves the shorter one 341 px, as a screenshot needs; at most 1024.

    A picture on the screen of a telephone would otherwise be seen at half the resolution of the picture itself.
    """
    long = round(NARROW_WORK_SIDE_PX * max(size_px) / min(size_px))
    return min(WORK_SIDE_MAX_PX, max(WORK_SIDE_PX, long))


def _orientation(image: Image.Image) -> int:
    try:
        value = image.getexif().get(EXIF_ORIENTATION, 1)
    except Exception:  # metadata never decides whether a picture can be read
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _upright(grey: Grey, orientation: int) -> Grey:
    """Undo the eight EXIF orientations (Exif 2.3, tag 0x0112)."""
    match orientation:
        case 2:
            turned = grey[:, ::-1]
        case 3:
            turned = grey[::-1, ::-1]
        case 4:
            turned = grey[::-1]
        case 5:
            turned = grey.T
        case 6:
            turned = np.rot90(grey, -1)
        case 7:
            turned = grey[::-1, ::-1].T
        case 8:
            turned = np.rot90(grey, 1)
        case _:
            turned = grey
    return np.ascontiguousarray(turned)


def _jpeg_grey(data: bytes, image: Image.Image) -> Grey | None:
    """Grey by the decoder's own scaling (a fraction of the cost of decoding at full size); None when it cannot."""
    if image.format not in ("JPEG", "MPO") or image.mode not in ("L", "RGB"):
        return None
    width, height = image.size
    factor = min(1.0, work_side_px(image.size) / max(width, height))
    least = {"min_height": max(1, int(height * factor)), "min_width": max(1, int(width * factor))}
    if factor == 1.0:
        least = {}
    try:
        grey: Grey = simplejpeg.decode_jpeg(data, colorspace="GRAY", fastdct=True, min_factor=1, **least)[:, :, 0]
    except ValueError:
        return None  # Pillow has the last word: it forgives stray bytes and refuses what is truncated
    return grey


def _any_grey(image: Image.Image) -> Grey:
    """Grey of the first frame of anything Pillow reads, alpha over white."""
    image.seek(0)
    work_side = work_side_px(image.size)
    if image.format in ("JPEG", "MPO"):
        image.draft(image.mode, (work_side, work_side))
    image.load()
    if image.mode.startswith("I") or image.mode == "F":
        return _deep_grey(np.asarray(image))
    if image.mode == "P" or (image.mode in ("1", "L", "RGB") and "transparency" in image.info):
        image = image.convert("RGBA" if "transparency" in image.info else "RGB")
    factor = max(image.size) // (2 * work_side)
    if factor > 1 and image.mode != "1":
        image = image.reduce(factor)
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa"):
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    if image.mode == "CMYK":
        image = image.convert("RGB")
    if image.mode == "LAB":
        image = image.getchannel("L")
    return np.asarray(image.convert("L"))


def _deep_grey(values: np.ndarray) -> Grey:
    """16-bit, 32-bit and floating point samples to 8 bits."""
    if values.ndim != 2:
        raise ValueError("more than one deep channel")
    grey = np.empty(values.shape, np.uint8)
    # A few rows at a time: as floating point a large picture would take four times its bytes, several times over.
    strips = range(0, len(values), DEEP_ROWS)
    top = max(float(_finite(values[row : row + DEEP_ROWS]).max(initial=0.0)) for row in strips)
    full = 1.0 if top <= 1.0 else 255.0 if top <= 255.0 else max(65_535.0, top)
    for row in strips:
        grey[row : row + DEEP_ROWS] = np.clip(_finite(values[row : row + DEEP_ROWS]) * (255.0 / full), 0, 255)
    return grey


def _finite(values: np.ndarray) -> Singles:
    numbers: Singles = np.nan_to_num(values.astype(np.float32))
    return numbers


def shrink(grey: Grey, side_px: int) -> Grey:
    """Shrink by area so that the longer side is at most `side_px`; smaller pictures stay as they are."""
    height, width = grey.shape
    factor = side_px / max(height, width)
    if factor >= 1:
        # Writable, too: compiled code is compiled once more for arrays that are not.
        return np.require(grey, requirements=["C", "W"])
    return shrunk_by_area(grey, max(1, round(width * factor)), max(1, round(height * factor)))
