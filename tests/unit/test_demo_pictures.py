"""The demo's pictures can be told apart, and are found again after what is done to them."""

import numpy as np
import pytest

from infra.demo.edits import EDITS, edited
from infra.demo.gallery import shot_of
from infra.demo.pictures import Image, draw, from_jpeg, look_of, to_jpeg
from infra.demo.sheet import Sight, write_sheet


def a_reference(twin: str, number: int = 1) -> Image:
    return draw(look_of(int(twin[1:])), shot_of(twin, number))


@pytest.fixture(scope="module")
def picture() -> Image:
    return a_reference("t03")


def test_a_seed_always_draws_the_same_picture(picture: Image) -> None:
    assert np.array_equal(picture, a_reference("t03"))
    assert picture.shape == (1000, 800, 3)


def test_every_reference_is_another_picture() -> None:
    seen = {to_jpeg(a_reference(twin, number)) for twin in ("t03", "t04") for number in range(4)}
    assert len(seen) == 8


def test_look_alikes_share_the_place_and_the_label_but_not_the_person() -> None:
    one, other = (a_reference(twin, 2).astype(np.int16) for twin in ("t16", "t17"))
    difference = np.abs(one - other).max(axis=2)
    assert np.median(difference[:200, :120]) <= 12, "the same wall behind them, but for its grain"
    assert np.median(difference[940:980, 20:150]) <= 12, "the same label"
    assert np.median(difference[450:550, 350:450]) > 25, "other clothes"


@pytest.mark.parametrize("name", EDITS)
def test_an_edit_changes_the_file_and_leaves_a_picture(picture: Image, name: str) -> None:
    changed = edited(picture, (name,), 1)
    assert changed == edited(picture, (name,), 1)
    assert changed != edited(picture, (), 1)
    assert min(from_jpeg(changed).shape[:2]) > 300


def test_a_contact_sheet_shows_both_pictures_and_the_reason(tmp_path, picture: Image) -> None:  # type: ignore[no-untyped-def]
    file = to_jpeg(picture)
    sight = Sight(file, file, "t03 in <post>", "flip", "out_of_scope", ("Shown in US; the license covers DE",))
    write_sheet([sight, sight], tmp_path / "sheet.html", tmp_path / "sheet.png")
    page = (tmp_path / "sheet.html").read_text()
    assert page.count("data:image/jpeg") == 4
    assert "&lt;post&gt;" in page
    assert "Shown in US" in page
    assert (tmp_path / "sheet.png").stat().st_size > 10_000
