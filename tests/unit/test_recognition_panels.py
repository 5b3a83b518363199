"""Pictures that lie on the flat ground of another one, and are found by their own hash."""

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageEnhance, ImageOps

from services.matching.recognition.panels import PANELS_MAX, panels
from services.matching.recognition.plans import EXACT
from services.matching.recognition.search import candidates, search_shelf
from services.matching.recognition.shelf import Entry, Shelf
from shared.fingerprints import QueryFingerprint
from shared.fingerprints.features import NONE
from tests.drawn import drawn, query, reference

WHITE, DARK = 255, 18


def page(
    *placed: tuple[Image.Image, tuple[int, int]], ground: int = WHITE, size: tuple[int, int] = (341, 512)
) -> Image.Image:
    """A page with pictures on it, a line of letters above and below each."""
    canvas = Image.new("L", size, ground)
    pen = ImageDraw.Draw(canvas)
    for picture, (x, y) in placed:
        canvas.paste(picture.convert("L"), (x, y))
        for line in (y - 14, y + picture.height + 6):
            pen.text((x, line), "liked by many, shared by some", fill=128)
    return canvas


def grey_of(picture: Image.Image) -> np.ndarray:
    return np.ascontiguousarray(np.asarray(picture.convert("L")))


@pytest.mark.parametrize("ground", [WHITE, 128, DARK])
def test_a_picture_on_a_page_is_framed_to_the_pixel(ground: int) -> None:
    framed = panels(grey_of(page((drawn(1).resize((240, 180)), (37, 121)), ground=ground)))
    assert len(framed) == 1
    assert np.abs(np.subtract(framed[0], (37, 121, 277, 301))).max() <= 1


def test_each_picture_of_a_page_is_framed_largest_first() -> None:
    placed = [(drawn(1).resize((200, 150)), (20, 20)), (drawn(2).resize((240, 180)), (60, 260))]
    framed = panels(grey_of(page(*placed)))
    assert len(framed) == 2
    assert np.abs(np.subtract(framed, [(60, 260, 300, 440), (20, 20, 220, 170)])).max() <= 1


def test_no_more_than_a_few_are_framed() -> None:
    tiles = [(drawn(n).resize((90, 90)), (10 + 110 * (n % 3), 20 + 120 * (n // 3))) for n in range(9)]
    assert len(panels(grey_of(page(*tiles)))) == PANELS_MAX


def test_letters_alone_are_no_picture() -> None:
    canvas = Image.new("L", (341, 512), WHITE)
    for line in range(20, 500, 14):
        ImageDraw.Draw(canvas).text((10, line), "what is written here says nothing of anybody", fill=0)
    assert panels(grey_of(canvas)) == []


@pytest.mark.parametrize("level", [0, 77, 255])
def test_a_picture_of_one_grey_has_no_panel(level: int) -> None:
    assert panels(np.full((300, 200), level, np.uint8)) == []
    assert panels(np.full((16, 16), level, np.uint8)) == []


def test_a_picture_without_a_ground_has_no_panel() -> None:
    noise = np.random.default_rng(3).integers(0, 256, (300, 200), dtype=np.uint8)
    assert panels(noise) == []


def test_a_mirrored_faded_copy_on_a_page_is_found_in_place_without_any_point() -> None:
    one = drawn(1)
    shelf = Shelf.of([Entry(f"ref-{n}", "twin", reference(drawn(n))) for n in range(1, 6)], EXACT)
    copy = ImageEnhance.Contrast(ImageOps.mirror(one).resize((240, 180))).enhance(0.6)
    shown = query(page((copy, (37, 121)), (drawn(9).resize((200, 120)), (60, 360))))
    matches = search_shelf(shelf, QueryFingerprint(shown.grey, shown.original_px, NONE), lambda *_: None)
    assert [match.reference_id for match in matches] == ["ref-1"]
    assert "mirrored" in matches[0].description
    assert np.abs(np.subtract(matches[0].region, (37, 121, 277, 301))).max() < 3


def shape_of(kind: str) -> Image.Image:
    """A white page with one dark shape that is no rectangle."""
    canvas = Image.new("L", (400, 512), WHITE)
    pen = ImageDraw.Draw(canvas)
    if kind == "disc":
        pen.ellipse((60, 100, 340, 380), fill=60)
    elif kind == "dress":
        pen.polygon([(160, 80), (240, 80), (340, 440), (60, 440)], fill=60)
    else:
        pen.polygon([(200, 60), (380, 240), (200, 420), (20, 240)], fill=60)
    return canvas


@pytest.mark.parametrize("kind", ["disc", "dress", "diamond"])
def test_what_is_no_rectangle_is_no_panel(kind: str) -> None:
    assert panels(grey_of(shape_of(kind))) == []


def test_shapes_do_not_hide_a_picture_that_is_smaller() -> None:
    canvas = page((drawn(1).resize((120, 90)), (200, 400)), size=(341, 512))
    pen = ImageDraw.Draw(canvas)
    for n in range(4):
        x, y = 15 + 160 * (n % 2), 20 + 165 * (n // 2)
        pen.ellipse((x, y, x + 145, y + 145), fill=60)
    framed = panels(grey_of(canvas))
    assert len(framed) == 1
    assert np.abs(np.subtract(framed[0], (200, 400, 320, 490))).max() <= 1


@pytest.mark.parametrize("corner", [(0, 0), (101, 0), (0, 332), (101, 332)])
def test_a_picture_at_the_rim_is_framed(corner: tuple[int, int]) -> None:
    framed = panels(grey_of(page((drawn(1).resize((240, 180)), corner))))
    assert len(framed) == 1
    assert np.abs(np.subtract(framed[0], (*corner, corner[0] + 240, corner[1] + 180))).max() <= 1


def test_a_faded_copy_on_a_page_is_found_to_the_pixel() -> None:
    shelf = Shelf.of([Entry(f"ref-{n}", "twin", reference(drawn(n))) for n in range(1, 6)], EXACT)
    for x, y in ((21, 131), (22, 130), (23, 129)):
        copy = ImageEnhance.Contrast(drawn(3).resize((300, 225))).enhance(0.5)
        shown = query(page((copy, (x, y))))
        matches = search_shelf(shelf, QueryFingerprint(shown.grey, shown.original_px, NONE), lambda *_: None)
        assert [match.reference_id for match in matches] == ["ref-3"]
        assert np.abs(np.subtract(matches[0].region, (x, y, x + 300, y + 225))).max() < 1.5


def test_every_picture_of_a_page_is_looked_for() -> None:
    shelf = Shelf.of([Entry(f"ref-{n}", "twin", reference(drawn(n))) for n in range(1, 6)], EXACT)
    placed = [(drawn(n).resize((140, 105)), (20 + 160 * (n % 2), 60 + 200 * ((n - 1) // 2))) for n in range(1, 5)]
    shown = query(page(*placed))
    found = candidates(shelf, QueryFingerprint(shown.grey, shown.original_px, NONE))
    assert sorted(found) == ["ref-1", "ref-2", "ref-3", "ref-4"]
