"""Small parts of soft pictures: few blocks tell anything, and the points decide."""

import cv2
import numpy as np
import pytest
from PIL import Image, ImageDraw

from services.matching.recognition import ReferenceIndex
from services.matching.recognition.evidence import SOFT_LOG_ODDS, probability
from tests.drawn import HEIGHT, WIDTH, answers, found, index_of, names

PART = (160, 120, 448, 336)


def a_soft_picture(seed: int) -> Image.Image:
    """Faint cloth under soft light, with a few buttons that make it more than plain."""
    chance = np.random.default_rng(seed)
    light = chance.integers(110, 140, (3, 4)).astype(np.float32)
    cloth = cv2.GaussianBlur(chance.normal(0, 1, (HEIGHT, WIDTH)).astype(np.float32), (0, 0), 2.5)
    grey = cv2.resize(light, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC) + cloth * (4 / cloth.std())
    picture = Image.fromarray(np.clip(grey, 0, 255).astype(np.uint8)).convert("RGB")
    pen = ImageDraw.Draw(picture)
    for _ in range(6):
        x, y, size = chance.uniform(0, WIDTH), chance.uniform(0, HEIGHT), chance.uniform(8, 16)
        pen.ellipse((x, y, x + size, y + size), fill=tuple(chance.integers(60, 190, 3).tolist()))
    return picture


@pytest.fixture(scope="module")
def index() -> ReferenceIndex:
    return index_of({f"ref-{seed}": a_soft_picture(seed) for seed in range(1, 9)})


def test_a_small_part_of_a_soft_picture_is_found_by_its_points(index: ReferenceIndex) -> None:
    [matches] = answers(index, [a_soft_picture(4).crop(PART)])
    assert names(matches) == ["ref-4"]
    # No other rule gives exactly this.
    assert matches[0].score == round(probability(SOFT_LOG_ODDS), 4)
    assert np.allclose(np.array(matches[0].transform)[:2, 2], (-PART[0], -PART[1]), atol=4)


def test_a_small_part_of_another_soft_picture_is_not(index: ReferenceIndex) -> None:
    for stranger in range(20, 26):
        assert found(index, a_soft_picture(stranger).crop(PART)) == []
