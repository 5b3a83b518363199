"""Fabrics: patterns that fall in folds, each with something woven in that no other has."""

from collections.abc import Callable

import cv2
import numpy as np

from infra.demo.pictures.shapes import Chance, Floats, Image, cloud, colour, disc, fill, oval, rough, shaded, tinted

Pattern = Callable[[Chance, Floats, Floats], Image]


def fabric(chance: Chance, size: tuple[int, int]) -> Image:
    """A fabric over (width, height), folded and grained; woven at half its size, which nobody sees under the grain."""
    width, height = small = (size[0] // 2, size[1] // 2)
    x, y = np.meshgrid(np.arange(width, dtype=np.float32) * 2, np.arange(height, dtype=np.float32) * 2)
    bend = 14 * cloud(chance, small, (5, 4))
    angle = float(chance.uniform(-0.5, 0.5))
    across = x * np.float32(np.cos(angle)) - y * np.float32(np.sin(angle)) + bend
    along = x * np.float32(np.sin(angle)) + y * np.float32(np.cos(angle)) + np.float32(0.7) * bend
    pattern = PATTERNS[int(chance.integers(len(PATTERNS)))]
    cloth = pattern(chance, across, along)
    _print_on(chance, cloth)
    folds = cloud(chance, small, (26, 5)) * 0.16 + cloud(chance, small, (7, 9)) * 0.12
    folded = shaded(cloth, (1 + folds).astype(np.float32))
    return rough(chance, cv2.resize(folded, size, interpolation=cv2.INTER_LINEAR).astype(np.uint8, copy=False), 5)


def _two_tones(chance: Chance, share: Floats) -> Image:
    one = np.array(colour(chance, light=(0.15, 0.55)), np.float32)
    other = np.array(colour(chance, strong=(0.05, 0.7), light=(0.6, 1.0)), np.float32)
    steps = one + (other - one) * np.linspace(0, 1, 256, dtype=np.float32)[:, None]
    return steps.astype(np.uint8)[np.clip(share * 255, 0, 255).astype(np.uint8)]


def _stripes(chance: Chance, across: Floats, _along: Floats) -> Image:
    step = chance.uniform(14, 40)
    rhythm = chance.uniform(0.2, 0.8, 7)
    wide = ((across / step) % 1 < rhythm[(across // step).astype(np.int32) % 7]).astype(np.float32)
    return _two_tones(chance, wide)


def _plaid(chance: Chance, across: Floats, along: Floats) -> Image:
    step = chance.uniform(40, 90)
    first = ((across / step) % 1 < 0.3) * 0.45 + ((across / step + 0.35) % 1 < 0.08) * 0.3
    second = ((along / step) % 1 < 0.3) * 0.45 + ((along / step + 0.35) % 1 < 0.08) * 0.3
    return _two_tones(chance, (first + second).astype(np.float32))


def _herringbone(chance: Chance, across: Floats, along: Floats) -> Image:
    step = chance.uniform(16, 30)
    tilt = np.where((across // step) % 2 == 0, along + across, along - across)
    return _two_tones(chance, ((tilt / 9) % 1 < 0.5).astype(np.float32) * 0.8)


def _checks(chance: Chance, across: Floats, along: Floats) -> Image:
    step = chance.uniform(22, 44)
    even = ((across // step) + (along // step)) % 2
    return _two_tones(chance, even.astype(np.float32))


def _knit(chance: Chance, across: Floats, along: Floats) -> Image:
    step = chance.uniform(12, 20)
    loops = np.abs(((along + np.abs((across % step) - step / 2)) / 9) % 1 - 0.5) * 1.6
    return _two_tones(chance, loops.astype(np.float32) * 0.7)


def _flowers(chance: Chance, across: Floats, _along: Floats) -> Image:
    height, width = across.shape
    cloth = _two_tones(chance, np.full((height, width), chance.uniform(0, 1), np.float32))
    tones = [colour(chance, strong=(0.5, 1), light=(0.5, 1)) for _ in range(4)]
    for _ in range(int(width * height / 750)):
        x, y, size = chance.uniform(0, width), chance.uniform(0, height), chance.uniform(3, 8)
        tone = tones[int(chance.integers(4))]
        for turn in np.arange(5) * 2 * np.pi / 5 + chance.uniform(0, 1):
            disc(cloth, (x + size * np.cos(turn), y + size * np.sin(turn)), (size * 0.7, size * 0.45), tone, turn)
        disc(cloth, (x, y), (size * 0.4, size * 0.4), tinted(tone, 0.5))
    return cloth


def _dabs(chance: Chance, across: Floats, _along: Floats) -> Image:
    height, width = across.shape
    share = cloud(chance, (width, height), (width // 12, height // 12)) > 0.15
    return _two_tones(chance, cv2.GaussianBlur(share.astype(np.float32), (3, 3), 0).astype(np.float32))


PATTERNS: tuple[Pattern, ...] = (_stripes, _plaid, _herringbone, _checks, _knit, _flowers, _dabs)


def _print_on(chance: Chance, cloth: Image) -> None:
    """A few large shapes, so that a repeating pattern is not the same everywhere."""
    height, width = cloth.shape[:2]
    for _ in range(int(chance.integers(14, 26))):
        centre, size = (chance.uniform(0, width), chance.uniform(0, height)), chance.uniform(6, 24)
        tone = colour(chance, strong=(0.2, 1), light=(0.1, 1))
        turn = chance.uniform(0, np.pi)
        if chance.random() < 0.5:
            corners = oval(centre, (size, size * chance.uniform(0.3, 1)), turn)
            fill(cloth, corners[:: int(chance.integers(5, 14))], tone)
        else:
            disc(cloth, centre, (size, size * chance.uniform(0.3, 1)), tone, turn)
            disc(cloth, centre, (size * 0.6, size * 0.3), tinted(tone, 1.5), turn)
