"""Which references are one picture, and which only look like it."""

import numpy as np
import pytest
from PIL import Image, ImageDraw

from services.registry.press import ThreadPress
from shared.fingerprints import Fingerprint, fingerprint_reference, is_same_picture, turns_of
from tests.drawn import HEIGHT, WIDTH, drawn, encoded, picture_of, reference

TURNS = [None, *Image.Transpose]


def turned(image: Image.Image, turn: Image.Transpose | None) -> Image.Image:
    return image if turn is None else image.transpose(turn)


def both_ways(one: Image.Image, other: Image.Image) -> bool:
    forth = is_same_picture(reference(one), reference(other))
    assert is_same_picture(reference(other), reference(one)) == forth
    return forth


@pytest.mark.parametrize("turn", TURNS)
def test_a_picture_is_the_same_in_each_of_its_eight_turns(turn):
    assert both_ways(drawn(1), turned(drawn(1), turn))


def test_a_picture_saved_again_smaller_and_worse_is_the_same():
    small = drawn(1).resize((WIDTH // 2, HEIGHT // 2))
    made = fingerprint_reference(picture_of(small, 30))
    assert isinstance(made, Fingerprint)
    assert is_same_picture(made, reference(drawn(1)))


def test_a_small_caption_leaves_it_the_same():
    marked = drawn(1).copy()
    ImageDraw.Draw(marked).rectangle((0, HEIGHT - 30, 200, HEIGHT), fill="white")
    assert both_ways(drawn(1), marked)


def test_other_pictures_and_halves_are_not_the_same():
    assert not any(both_ways(drawn(1), drawn(seed)) for seed in range(2, 12))
    assert not both_ways(drawn(1), drawn(1).crop((0, 0, WIDTH // 2, HEIGHT)))


def test_two_pictures_under_one_large_mark_are_not_the_same():
    one, other = drawn(1).copy(), drawn(2).copy()
    for image in (one, other):
        image.paste(drawn(3, WIDTH, HEIGHT // 2), (0, 0))
    assert not both_ways(one, other)


async def test_the_bits_that_the_registry_keeps_are_the_first_of_the_turns_but_for_a_few():
    press = ThreadPress(1)
    printed = await press.fingerprint(encoded(drawn(1)))
    turns = await press.turns(printed.fingerprint)
    assert len(turns) == 8
    assert {len(bits) for bits in turns} == {256}
    assert sum(a != b for a, b in zip(turns[0], printed.whole_bits, strict=True)) <= 6
    made = Fingerprint.from_bytes(printed.fingerprint)
    assert printed.whole_bits == "".join(f"{byte:08b}" for byte in made.global_hash)
    assert np.bitwise_count(turns_of(made)[0] ^ made.whole).sum() <= 6
    assert await press.same(printed.fingerprint, [printed.fingerprint]) == [True]
