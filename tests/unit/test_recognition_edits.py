"""Edits that nothing was tuned on: each leaves a drawn picture recognisable, and turns no stranger into it."""

from collections.abc import Callable

import cv2
import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont, ImageOps

from services.matching.recognition import ReferenceIndex
from shared.fingerprints import fingerprint_query
from tests.drawn import drawn, found, index_of, names, read, reference, saved

Edit = Callable[[Image.Image], Image.Image]

COPIES, STRANGERS = range(1, 5), range(20, 24)


def a_picture(seed: int) -> Image.Image:
    return drawn(seed, 480, 640)


@pytest.fixture(scope="module")
def index() -> ReferenceIndex:
    return index_of({f"ref-{seed}": a_picture(seed) for seed in range(1, 9)})


# --- tone and texture ----------------------------------------------------------------------------------------


def sepia(image: Image.Image) -> Image.Image:
    return ImageOps.colorize(image.convert("L"), (40, 26, 13), (255, 240, 192))


def motion_blurred(image: Image.Image) -> Image.Image:
    along = np.eye(9, dtype=np.float32) / 9
    return Image.fromarray(cv2.filter2D(np.asarray(image), -1, along))


def salt_and_pepper(image: Image.Image) -> Image.Image:
    pixels, chance = np.array(image), np.random.default_rng(7).random((image.height, image.width))
    pixels[chance < 0.03], pixels[chance > 0.97] = 0, 255
    return Image.fromarray(pixels)


def coarse(image: Image.Image) -> Image.Image:
    return image.resize((80, 106), Image.Resampling.BOX).resize(image.size, Image.Resampling.NEAREST)


# --- what lies around and over it ----------------------------------------------------------------------------


def one_of_nine(image: Image.Image) -> Image.Image:
    page = Image.new("RGB", (3 * 250, 3 * 330), "white")
    for cell in range(9):
        tile = image if cell == 4 else a_picture(100 + cell)
        page.paste(tile.resize((240, 320)), (cell % 3 * 250 + 5, cell // 3 * 330 + 5))
    return page


def written(pen: ImageDraw.ImageDraw, x: float, y: float, size: float, text: str, colour: str) -> None:
    pen.text((x, y), text, font=ImageFont.load_default(size), fill=colour)


def on_a_dark_desktop(image: Image.Image) -> Image.Image:
    screen = Image.new("RGB", (1680, 1050), (24, 24, 27))
    pen = ImageDraw.Draw(screen)
    pen.rectangle((0, 0, 1680, 60), fill=(48, 48, 54))
    written(pen, 140, 18, 22, "social.example / brand / posts / 48123", "white")
    for line in range(20):
        written(pen, 1250, 120 + 44 * line, 22, "what a look, wearing this all autumn", "lightgrey")
    screen.paste(image.resize((600, 800)), (480, 150))
    return screen


def beneath_letters(image: Image.Image) -> Image.Image:
    over = image.copy()
    for line in range(4):
        written(ImageDraw.Draw(over), 12, 30 + 160 * line, 64, "NEW LOOKS!", "yellow")
    return over


def scribbled_on(image: Image.Image) -> Image.Image:
    over, chance = image.copy(), np.random.default_rng(5)
    for colour in ("red", "lime", "blue"):
        way = chance.uniform(0, 1, (7, 2)) * (480, 640)
        ImageDraw.Draw(over).line([tuple(point) for point in way.tolist()], fill=colour, width=6, joint="curve")
    return over


def on_tilted_card(image: Image.Image) -> Image.Image:
    card = ImageOps.expand(image, (25, 25, 25, 110), "white")
    return card.rotate(9, Image.Resampling.BICUBIC, expand=True, fillcolor=(90, 70, 50))


def in_a_circle(image: Image.Image) -> Image.Image:
    square = ImageOps.fit(image, (480, 480))
    mask = Image.new("L", square.size, 0)
    ImageDraw.Draw(mask).ellipse((0, 0, 479, 479), fill=255)
    return Image.composite(square, Image.new("RGB", square.size, "white"), mask)


def before_another_background(image: Image.Image) -> Image.Image:
    mask = Image.new("L", image.size, 0)
    ImageDraw.Draw(mask).ellipse((50, 30, 430, 610), fill=255)
    return Image.composite(image, a_picture(99), mask)


def turned(degrees: float) -> Edit:
    return lambda image: image.rotate(degrees, Image.Resampling.BICUBIC, expand=True, fillcolor="white")


EDITS: dict[str, Edit] = {
    "sepia": sepia,
    "posterised": lambda image: ImageOps.posterize(image, 2),
    "equalised": ImageOps.equalize,
    "motion blur": motion_blurred,
    "salt and pepper": salt_and_pepper,
    "coarse pixels": coarse,
    "black and white dots": lambda image: image.convert("1").convert("RGB"),
    "one of nine": one_of_nine,
    "on a dark desktop": on_a_dark_desktop,
    "beneath letters": beneath_letters,
    "scribbled on": scribbled_on,
    "on a tilted card": on_tilted_card,
    "in a circle": in_a_circle,
    "before another background": before_another_background,
    "turned by 25 degrees": turned(25),
    "turned by 45 degrees": turned(-45),
    "stretched by a third": lambda image: image.resize((640, 640)),
}


@pytest.mark.parametrize("name", EDITS)
def test_an_edited_copy_shows_its_picture_and_no_other(index: ReferenceIndex, name: str) -> None:
    assert [found(index, EDITS[name](a_picture(seed))) for seed in COPIES] == [[f"ref-{seed}"] for seed in COPIES]


@pytest.mark.parametrize("name", EDITS)
def test_a_stranger_edited_like_it_shows_nothing(index: ReferenceIndex, name: str) -> None:
    assert [found(index, EDITS[name](a_picture(seed))) for seed in STRANGERS] == [[]] * len(STRANGERS)


def test_a_part_of_a_picture_that_is_registered_a_dozen_times_is_found() -> None:
    made, repeated = reference(a_picture(1)), ReferenceIndex()
    for number in range(12):
        repeated.add(f"ref-{number}", "twin", True, made)
    assert found(repeated, a_picture(1).crop((90, 120, 390, 520)))


# --- files ---------------------------------------------------------------------------------------------------


def turned_by_its_metadata(image: Image.Image) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown a quarter turn clockwise
    return saved(image.transpose(Image.Transpose.ROTATE_90), "JPEG", exif=exif)


def deep(image: Image.Image) -> bytes:
    samples = np.asarray(image.convert("L")).astype(np.uint16) * 257
    return bytes(cv2.imencode(".png", samples)[1])


FILES: dict[str, Callable[[Image.Image], bytes]] = {
    "PNG": lambda image: saved(image, "PNG"),
    "WebP": lambda image: saved(image, "WEBP", quality=40),
    "AVIF": lambda image: saved(image, "AVIF", quality=40),
    "GIF of 64 colours": lambda image: saved(image.quantize(64), "GIF"),
    "CMYK": lambda image: saved(image.convert("CMYK"), "JPEG"),
    "16 bits": deep,
    "turned by EXIF": turned_by_its_metadata,
    "progressive": lambda image: saved(image, "JPEG", progressive=True),
    "TIFF": lambda image: saved(image, "TIFF"),
}


@pytest.mark.parametrize("name", FILES)
def test_whatever_the_file_the_picture_is_shown(index: ReferenceIndex, name: str) -> None:
    asked = [fingerprint_query(read(FILES[name](a_picture(seed)))) for seed in COPIES]
    shown = [names(index.search(one, livemode=True)) for one in asked]
    assert shown == [[f"ref-{seed}"] for seed in COPIES]
