"""Recognition: which references a picture shows, and what never counts as showing one. All pictures are drawn here."""

import io
import itertools
import threading
from functools import cache

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from services.matching.recognition import Match, ReferenceIndex, shelf, warm_up
from services.matching.recognition.geometry import describe, mirror, scaling, shift, unturned
from shared.fingerprints import (
    Fingerprint,
    Picture,
    QueryFingerprint,
    decode,
    fingerprint_query,
    fingerprint_reference,
)
from shared.fingerprints.whole import turned

WIDTH, HEIGHT = 640, 480


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


def encoded(image: Image.Image, quality: int = 85) -> bytes:
    stream = io.BytesIO()
    image.convert("RGB").save(stream, "JPEG", quality=quality)
    return stream.getvalue()


def picture_of(image: Image.Image, quality: int = 85) -> Picture:
    picture = decode(encoded(image, quality))
    assert isinstance(picture, Picture)
    return picture


def reference(image: Image.Image) -> Fingerprint:
    made = fingerprint_reference(picture_of(image))
    assert isinstance(made, Fingerprint), made
    return made


def query(image: Image.Image, quality: int = 85) -> QueryFingerprint:
    return fingerprint_query(picture_of(image, quality))


def index_of(images: dict[str, Image.Image]) -> ReferenceIndex:
    """Each picture is the reference of a twin of its own."""
    index = ReferenceIndex()
    for name, image in images.items():
        index.add(name, f"twin of {name}", True, reference(image))
    return index


def names(matches: list[Match]) -> list[str]:
    return [match.reference_id for match in matches]


def found(index: ReferenceIndex, image: Image.Image, quality: int = 85) -> list[str]:
    return names(index.search(query(image, quality), livemode=True))


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


# --- what different twins share ------------------------------------------------------------------------------


def watermark(image: Image.Image) -> Image.Image:
    layer = Image.new("RGBA", image.size, (0, 0, 0, 0))
    pen, font = ImageDraw.Draw(layer), ImageFont.load_default(38)
    for y in range(20, image.height, 110):
        for x in range(0, image.width, 230):
            pen.text((x, y), "AI TWIN", font=font, fill=(255, 255, 255, 120))
    return Image.alpha_composite(image.convert("RGBA"), layer).convert("RGB")


def label(image: Image.Image) -> Image.Image:
    image, font = image.copy(), ImageFont.load_default(30)
    pen = ImageDraw.Draw(image)
    pen.rounded_rectangle((20, image.height - 90, 400, image.height - 20), 20, fill="black")
    pen.text((45, image.height - 75), "Made with AI - Twin", font=font, fill="white")
    return image


def border(image: Image.Image) -> Image.Image:
    frame = Image.new("RGB", (image.width + 120, image.height + 120))
    pen = ImageDraw.Draw(frame)
    for number, x in enumerate(range(-700, 900, 20)):
        pen.line((x, 0, x + 700, 700), fill=("crimson", "gold", "navy")[number % 3], width=12)
    frame.paste(image, (60, 60))
    return frame


def caption(image: Image.Image) -> Image.Image:
    frame, font = Image.new("RGB", (image.width, image.height + 130), "white"), ImageFont.load_default(40)
    frame.paste(image, (0, 130))
    ImageDraw.Draw(frame).text((20, 12), "Nobody noticed what\nshe wore that evening", font=font, fill="black")
    return frame


def template(image: Image.Image) -> Image.Image:
    """A post: bars, buttons and text over much of the picture."""
    frame = drawn(900).copy().resize((720, 900))
    frame.paste(image.resize((540, 405)), (90, 240))
    return frame


MARKS = {"watermark": watermark, "label": label, "border": border, "caption": caption, "template": template}


@pytest.mark.parametrize("mark", MARKS)
def test_twins_under_the_same_mark_never_match_each_other(mark):
    marked = MARKS[mark]
    index = index_of({f"ref-{seed}": marked(drawn(seed)) for seed in range(4)})
    for seed in range(4):
        assert found(index, marked(drawn(seed))) == [f"ref-{seed}"]
    for seed in (30, 31, 32):
        assert found(index, marked(drawn(seed))) == []


@pytest.mark.parametrize("mark", MARKS)
def test_a_mark_on_a_copy_hides_nothing_and_proves_nothing(mark):
    index = index_of({f"ref-{seed}": drawn(seed) for seed in range(4)})
    assert found(index, MARKS[mark](drawn(2))) == ["ref-2"]
    assert found(index, MARKS[mark](drawn(33))) == []


def posing(seed: int) -> Image.Image:
    """The same room, the same pose, another face and another dress."""
    room = drawn(500).copy()
    mask = Image.new("L", room.size)
    pen = ImageDraw.Draw(mask)
    pen.ellipse((260, 40, 380, 180), fill=255)
    pen.polygon([(240, 180), (400, 180), (460, 480), (180, 480)], fill=255)
    room.paste(drawn(seed), (0, 0), mask)
    return room


def test_twins_in_the_same_room_and_pose_never_match_each_other():
    index = index_of({f"ref-{seed}": posing(seed) for seed in range(3)})
    for seed in range(3):
        assert found(index, posing(seed)) == [f"ref-{seed}"]
    assert found(index, posing(40)) == []
    assert found(index, drawn(500)) == []


def test_what_is_shared_is_masked_on_both_and_unmasked_at_removal():
    index = index_of({"one": posing(1)})
    alone = index.own_blocks("one")
    index.add("other", "another twin", True, reference(posing(2)))
    assert index.own_blocks("one") < 0.6 * alone
    assert index.own_blocks("other") < 0.6 * alone
    index.remove("other")
    assert index.own_blocks("one") == alone


def test_references_of_one_twin_mask_nothing_of_each_other():
    index = index_of({"one": posing(1)})
    alone = index.own_blocks("one")
    index.add("same twin", "twin of one", True, reference(posing(2)))
    assert index.own_blocks("one") == alone


def test_a_reference_that_is_mostly_a_shared_mark_says_so():
    places = {1: (525, 365), 2: (60, 365), 50: (330, 365)}

    def card(seed: int) -> Image.Image:
        sheet = Image.new("RGB", (WIDTH, HEIGHT), "ivory")
        sheet.paste(drawn(700, 260, 200), (40, 40))
        sheet.paste(drawn(seed, 50, 50), places[seed])
        return sheet

    index = index_of({"one": card(1), "other": card(2), "free": drawn(3)})
    assert index.is_mostly_shared("one")
    assert not index.is_mostly_shared("free")
    assert found(index, card(50)) == []


def test_a_frame_over_most_of_the_picture_proves_nothing_and_the_picture_in_it_does():
    def framed(seed: int) -> Image.Image:
        sheet = drawn(700).copy()
        sheet.paste(drawn(seed, 200, 150), (280, 200))
        return sheet

    index = index_of({"one": framed(1), "other": framed(2)})
    assert found(index, framed(50)) == []
    assert found(index, framed(1)) == ["one"]


# --- a living index ------------------------------------------------------------------------------------------


def answers(index: ReferenceIndex, images: list[Image.Image]) -> list[list[Match]]:
    return [index.search(query(image), livemode=True) for image in images]


def test_the_answer_does_not_depend_on_the_order_of_registration(monkeypatch):
    monkeypatch.setattr(shelf, "SMALL_MAX", 2)  # so that references move between segments
    monkeypatch.setattr(shelf, "MIDDLE_MAX", 3)
    images = {"a": posing(1), "b": posing(2), "c": watermark(drawn(3)), "d": watermark(drawn(4)), "e": drawn(5)}
    prints = {name: reference(image) for name, image in images.items()}
    asked = [*(image.rotate(3) for image in images.values()), posing(41), watermark(drawn(42))]
    given = []
    for order in itertools.islice(itertools.permutations(images), 0, 120, 29):
        index = ReferenceIndex()
        for name in order:
            index.add(name, name, True, prints[name])
        index.add("passing", "passing", True, reference(posing(9)))
        index.remove("passing")
        given.append((answers(index, asked), [index.own_blocks(name) for name in images]))
    assert all(one == given[0] for one in given[1:])
    assert [names(matches) for matches in given[0][0]] == [["a"], ["b"], ["c"], ["d"], ["e"], [], []]


def test_an_index_built_from_bytes_gives_the_same_answers():
    one, other = ReferenceIndex(), ReferenceIndex()
    for seed in range(3):
        made = reference(posing(seed))
        one.add(f"{seed}", f"{seed}", True, made)
        other.add(f"{seed}", f"{seed}", True, Fingerprint.from_bytes(made.to_bytes()))
    asked = [query(posing(1).rotate(4)), query(drawn(0))]
    kept = [QueryFingerprint.from_bytes(each.to_bytes()) for each in asked]
    for before, after in zip(asked, kept, strict=True):
        assert one.search(before, livemode=True) == other.search(after, livemode=True)


def test_a_removed_reference_is_found_no_more_and_an_unknown_one_is_no_error():
    index = index_of({"one": drawn(1), "other": drawn(2)})
    index.remove("one")
    index.remove("never seen")
    assert len(index) == 1
    assert "one" not in index
    assert found(index, drawn(1)) == []
    assert found(index, drawn(2)) == ["other"]


def test_a_reference_added_again_replaces_the_earlier_one():
    index = index_of({"one": drawn(1)})
    index.add("one", "new twin", True, reference(drawn(2)))
    assert len(index) == 1
    assert found(index, drawn(1)) == []
    (match,) = index.search(query(drawn(2)), livemode=True)
    assert match.twin_id == "new twin"


def test_a_sandbox_reference_is_found_by_sandbox_queries_only():
    index = ReferenceIndex()
    index.add("live", "twin", True, reference(drawn(1)))
    index.add("sandbox", "twin", False, reference(drawn(1)))
    assert names(index.search(query(drawn(1)), livemode=True)) == ["live"]
    assert names(index.search(query(drawn(1)), livemode=False)) == ["sandbox"]


def test_the_same_picture_under_two_twins_is_found_as_both():
    index = index_of({"one": drawn(1), "other": drawn(1).resize((500, 375))})
    assert sorted(found(index, drawn(1))) == ["one", "other"]


def test_a_see_through_mark_all_over_a_stolen_picture_hides_neither_twin():
    veiled = Image.blend(drawn(1), drawn(900), 0.25)
    index = index_of({"theirs": drawn(1), "stolen": veiled})
    for seen in (drawn(1), veiled):
        assert sorted(found(index, seen)) == ["stolen", "theirs"]


def test_an_empty_index_answers_nothing():
    assert ReferenceIndex().search(query(drawn(1)), livemode=True) == []


def test_searches_go_on_while_references_come_and_go():
    index = index_of({"stays": drawn(1)})
    asked, prints = query(drawn(1)), [reference(drawn(seed)) for seed in (2, 3)]
    seen: list[list[str]] = []
    done = threading.Event()

    def search_on() -> None:
        while not done.is_set():
            seen.append(names(index.search(asked, livemode=True)))

    searcher = threading.Thread(target=search_on)
    searcher.start()
    for turn in range(200):
        if turn >= 10 and len(seen) > 3:
            break
        index.add(f"passing-{turn % 2}", "passing", True, prints[turn % 2])
        index.remove(f"passing-{(turn + 1) % 2}")
    done.set()
    searcher.join(20)
    assert not searcher.is_alive()
    assert len(seen) > 3
    assert all(names_seen == ["stays"] for names_seen in seen)
