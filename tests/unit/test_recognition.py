"""Recognition: which references a picture shows, and what never counts as showing one. All pictures are drawn here."""

import numpy as np
import pytest
from PIL import Image, ImageFilter

from services.matching.recognition import ReferenceIndex, warm_up
from services.matching.recognition.geometry import describe, mirror, scaling, shift, unturned
from shared.fingerprints.whole import turned
from tests.drawn import HEIGHT, WIDTH, drawn, found, index_of, names, query, reference


@pytest.fixture(scope="module")
def index() -> ReferenceIndex:
    warm_up()
    return index_of({f"ref-{seed}": drawn(seed) for seed in range(6)})


# --- copies --------------------------------------------------------------------------------------------------


def pasted(image: Image.Image, scale: float, at: tuple[int, int]) -> Image.Image:
    other = drawn(77, 900, 700).copy()
    other.paste(image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.LANCZOS), at)
    return other


def letterboxed(image: Image.Image) -> Image.Image:
    frame = Image.new("RGB", (image.width, image.height * 2), "black")
    frame.paste(image, (0, image.height // 2))
    return frame


EDITS = {
    "the same": lambda image: image,
    "half size": lambda image: image.resize((WIDTH // 2, HEIGHT // 2), Image.Resampling.LANCZOS),
    "mirrored": lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    "upside down": lambda image: image.transpose(Image.Transpose.ROTATE_180),
    "quarter turn": lambda image: image.transpose(Image.Transpose.ROTATE_90),
    "rotated": lambda image: image.rotate(10, Image.Resampling.BICUBIC),
    "cropped": lambda image: image.crop((200, 130, 560, 400)),
    "cropped and mirrored": lambda image: image.crop((20, 60, 400, 400)).transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    "letterboxed": letterboxed,
    "on another picture": lambda image: pasted(image, 0.6, (300, 250)),
    "blurred": lambda image: image.filter(ImageFilter.GaussianBlur(1.5)),
    "darker": lambda image: image.point(lambda value: value * 0.6),
    "grey": lambda image: image.convert("L"),
}


@pytest.mark.parametrize("edit", EDITS)
def test_an_edited_copy_shows_its_reference_and_no_other(index, edit):
    for seed in (0, 3):
        assert found(index, EDITS[edit](drawn(seed))) == [f"ref-{seed}"]


def test_a_copy_of_poor_quality_is_still_found(index):
    assert found(index, drawn(2), quality=8) == ["ref-2"]


@pytest.mark.parametrize("seed", range(3))
def test_a_copy_that_no_corner_is_left_of_is_still_found(index, seed):
    assert found(index, drawn(seed).filter(ImageFilter.GaussianBlur(12)), quality=30) == [f"ref-{seed}"]


@pytest.mark.parametrize("seed", range(20, 28))
def test_another_picture_shows_nothing(index, seed):
    assert found(index, drawn(seed)) == []


def test_a_plain_picture_shows_nothing(index):
    assert found(index, Image.new("RGB", (800, 600), "white")) == []


def test_two_twins_side_by_side_are_both_found(index):
    both = Image.new("RGB", (2 * WIDTH, HEIGHT))
    both.paste(drawn(1), (0, 0))
    both.paste(drawn(4), (WIDTH, 0))
    left, right = sorted(index.search(query(both), livemode=True), key=lambda match: match.region)
    assert (left.reference_id, right.reference_id) == ("ref-1", "ref-4")
    assert left.region[2] < WIDTH + 8
    assert right.region[0] > WIDTH - 8


# --- the answer ----------------------------------------------------------------------------------------------


def test_the_region_is_told_in_pixels_of_the_original_query(index):
    (match,) = index.search(query(pasted(drawn(0), 0.6, (300, 250))), livemode=True)
    assert np.abs(np.subtract(match.region, (300, 250, 684, 538))).max() < 4
    assert match.twin_id == "twin of ref-0"
    assert 0.8 < match.score <= 1


@pytest.mark.parametrize("mirrored", [False, True])
def test_the_transform_maps_reference_pixels_to_query_pixels(index, mirrored):
    image = drawn(5).crop((100, 80, 600, 460)).resize((1000, 760), Image.Resampling.LANCZOS)
    expected = scaling((500, 380), (1000, 760)) @ shift(-100, -80)
    if mirrored:
        image, expected = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT), mirror(1000) @ expected
    (match,) = index.search(query(image), livemode=True)
    for x, y in ((150, 100), (550, 120), (300, 400)):
        there = np.array(match.transform) @ (x, y, 1)
        assert np.abs(there[:2] / there[2] - (expected @ (x, y, 1))[:2]).max() < 4
    assert ("mirrored" in match.description) == mirrored
    assert "cropped to 6" in match.description


def test_matches_are_sorted_by_score_then_by_id():
    index = ReferenceIndex()
    for name in ("b", "a", "c"):
        index.add(name, name, True, reference(drawn(1)))
    matches = index.search(query(drawn(1)), livemode=True)
    assert names(matches) == ["a", "b", "c"]
    assert len({match.score for match in matches}) == 1


@pytest.mark.parametrize(
    ("matrix", "words"),
    [
        (np.eye(3), "unchanged"),
        (mirror(100), "mirrored"),
        (shift(-50, 0) @ scaling((100, 100), (200, 200)), "cropped to 25 %, scaled to 200 %"),
        (scaling((100, 100), (50, 50)), "scaled to 50 %, on 25 % of the picture"),
        (np.array([[1, -0.02, 0], [0.02, 1, 0], [0, 0, 1.0]]), "rotated 1 degree clockwise"),
    ],
)
def test_a_transform_is_told_in_words(matrix, words):
    assert describe(matrix, (100, 100), (100, 100)) == words


@pytest.mark.parametrize(("share", "words"), [(0.12, "12 % covered"), (0.02, "unchanged")])
def test_how_much_is_covered_is_told_from_a_share_that_compression_alone_does_not_reach(share, words):
    assert describe(np.eye(3), (100, 100), (100, 100), share) == words


def sticker(image: Image.Image) -> Image.Image:
    """A fifth of the picture covered."""
    image = image.copy()
    image.paste(drawn(78, 286, 215), (180, 140))
    return image


def test_what_covers_a_copy_is_told_and_a_poor_copy_is_not_called_covered(index):
    (covered,) = index.search(query(sticker(drawn(2))), livemode=True)
    share = int(covered.description.partition(" % covered")[0].split()[-1])
    assert 10 <= share <= 30
    (poor,) = index.search(query(drawn(2), 5), livemode=True)
    assert "covered" not in poor.description


def test_a_quarter_turn_is_told_in_words():
    turn = np.array([[0, -1, 99], [1, 0, 0], [0, 0, 1.0]])
    assert describe(turn, (100, 100), (100, 100)) == "rotated 90 degrees clockwise"


@pytest.mark.parametrize("turn", range(8))
def test_the_way_back_from_each_turn_is_known(turn):
    grey = np.arange(12, dtype=np.uint8).reshape(3, 4)
    result = turned(grey, turn)
    for y, x in np.ndindex(*result.shape):
        there = unturned(turn, (4, 3)) @ (x, y, 1)
        assert result[y, x] == grey[round(there[1]), round(there[0])]
