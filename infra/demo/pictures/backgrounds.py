"""Where a picture is taken: studio, street, park, room, beach."""

from collections.abc import Callable

import cv2
import numpy as np

from infra.demo.pictures.shapes import (
    Chance,
    Image,
    cloud,
    colour,
    disc,
    fill,
    plain,
    ramp,
    rough,
    shaded,
    stroke,
    tinted,
)

Place = Callable[[Chance, tuple[int, int]], Image]


def background(chance: Chance, size: tuple[int, int]) -> Image:
    """Any place, with its own light."""
    place = PLACES[int(chance.integers(len(PLACES)))]
    scene = place(chance, size)
    light = 1 + 0.18 * cloud(chance, size, (3, 3))
    return rough(chance, shaded(scene, light.astype(np.float32)), 6)


def _studio(chance: Chance, size: tuple[int, int]) -> Image:
    width, height = size
    wall = colour(chance, strong=(0.05, 0.5), light=(0.45, 0.9))
    scene = ramp(size, tinted(wall, 0.8), tinted(wall, 1.15))
    scene = shaded(scene, 1 + 0.12 * cloud(chance, size, (40, 50)))
    floor = int(height * chance.uniform(0.75, 0.88))
    scene[floor:] = ramp((width, height - floor), tinted(wall, 0.7), tinted(wall, 0.95))
    for _ in range(int(chance.integers(5, 9))):
        _panel(chance, scene, wall)
    for _ in range(int(chance.integers(3, 6))):
        x, top = chance.uniform(0, width), chance.uniform(0.1, 0.6) * height
        stroke(
            scene, [(x, top), (x + chance.uniform(-20, 20), height * 0.95)], (30, 30, 34), int(chance.integers(3, 7))
        )
        disc(scene, (x, top), (chance.uniform(18, 50), chance.uniform(10, 40)), colour(chance, light=(0.6, 1)))
    return scene


def _panel(chance: Chance, scene: Image, wall: tuple[int, int, int]) -> None:
    height, width = scene.shape[:2]
    x, y = chance.uniform(-0.1, 0.9) * width, chance.uniform(-0.1, 0.7) * height
    across, down = chance.uniform(0.08, 0.3) * width, chance.uniform(0.1, 0.5) * height
    lean = chance.uniform(-25, 25)
    tone = tinted(wall, chance.uniform(0.5, 1.3))
    corners = [(x, y), (x + across, y + lean), (x + across - lean, y + down), (x - lean, y + down - lean)]
    fill(scene, corners, tone)
    stroke(scene, [*corners, corners[0]], tinted(tone, 0.6), 2)
    for share in np.sort(chance.uniform(0.1, 0.9, int(chance.integers(1, 6)))):
        stroke(scene, [(x, y + share * down), (x + across, y + lean + share * down * 0.9)], tinted(tone, 0.75), 2)


def _street(chance: Chance, size: tuple[int, int]) -> Image:
    width, height = size
    scene = ramp(size, (120, 160, 210), (220, 215, 205))
    ground = int(height * chance.uniform(0.72, 0.82))
    x = -chance.uniform(0, 90)
    while x < width:
        across = chance.uniform(110, 240)
        _house(chance, scene, (x, chance.uniform(0.0, 0.3) * height, x + across, float(ground)))
        x += across
    scene[ground:] = ramp((width, height - ground), (95, 93, 92), (140, 138, 134))
    vanishing = chance.uniform(0.2, 0.8) * width
    for end in np.arange(-width, 2 * width, chance.uniform(60, 110)):
        stroke(scene, [(vanishing, ground), (end, height)], (70, 70, 72), 2)
    for share in np.linspace(0.05, 1, 8) ** 1.6:
        y = ground + share * (height - ground)
        stroke(scene, [(0, y), (width, y)], (75, 74, 74), 2)
    return scene


def _house(chance: Chance, scene: Image, box: tuple[float, float, float, float]) -> None:
    x0, y0, x1, y1 = box
    wall = colour(chance, strong=(0.1, 0.5), light=(0.3, 0.8))
    fill(scene, [(x0, y0), (x1, y0), (x1, y1), (x0, y1)], wall)
    step_x, step_y = chance.uniform(28, 50), chance.uniform(40, 66)
    for x in np.arange(x0 + 8, x1 - step_x * 0.6, step_x):
        for y in np.arange(y0 + 12, y1 - step_y, step_y):
            glass = (250, 225, 150) if chance.random() < 0.25 else tinted((90, 110, 130), chance.uniform(0.5, 1.5))
            right, low = x + step_x * chance.uniform(0.5, 0.65), y + step_y * chance.uniform(0.5, 0.7)
            fill(scene, [(x, y), (right, y), (right, low), (x, low)], glass)
            stroke(scene, [(x, low), (right, low)], tinted(wall, 0.5), 3)
    sign, y = colour(chance, strong=(0.6, 1), light=(0.5, 1)), y1 - chance.uniform(60, 110)
    fill(scene, [(x0 + 10, y), (x1 - 10, y), (x1 - 10, y + 26), (x0 + 10, y + 26)], sign)
    word = "".join(chr(97 + int(letter)) for letter in chance.integers(0, 26, 7))
    cv2.putText(
        scene, word, (int(x0) + 16, int(y) + 20), cv2.FONT_HERSHEY_SIMPLEX, 0.7, (250, 250, 250), 2, cv2.LINE_AA
    )


def _park(chance: Chance, size: tuple[int, int]) -> Image:
    width, height = size
    scene = ramp(size, (170, 200, 225), (150, 185, 120))
    horizon = int(height * chance.uniform(0.5, 0.65))
    scene[horizon:] = ramp((width, height - horizon), (95, 135, 70), (60, 95, 45))
    for _ in range(int(chance.integers(4, 8))):
        x = chance.uniform(0, width)
        stroke(scene, [(x, horizon + 60), (x + chance.uniform(-30, 30), 0)], (80, 60, 45), int(chance.integers(10, 30)))
    for _ in range(520):
        x, y = chance.uniform(0, width), chance.beta(1.2, 2) * horizon * 1.1
        leaf = (int(chance.integers(30, 120)), int(chance.integers(80, 180)), int(chance.integers(20, 80)))
        disc(scene, (x, y), (chance.uniform(4, 22), chance.uniform(3, 14)), leaf, chance.uniform(0, 3))
    for x, y, lean in zip(
        chance.uniform(0, width, 500), chance.uniform(horizon, height, 500), chance.uniform(-10, 10, 500), strict=True
    ):
        stroke(scene, [(x, y), (x + lean, y - 22)], tinted((80, 140, 55), 0.6 + (int(x) % 7) / 8), 2)
    return scene


def _room(chance: Chance, size: tuple[int, int]) -> Image:
    width, height = size
    wall = colour(chance, strong=(0.1, 0.5), light=(0.5, 0.9))
    scene = plain(size, wall)
    step = chance.uniform(26, 60)
    for x in np.arange(0, width, step):
        for y in np.arange(0, height, step):
            at = (x + chance.uniform(-6, 6), y + chance.uniform(-6, 6))
            disc(
                scene, at, (step * 0.2, step * chance.uniform(0.1, 0.3)), tinted(wall, chance.uniform(0.7, 1.2)), x + y
            )
    floor = int(height * chance.uniform(0.74, 0.85))
    wood = colour(chance, strong=(0.3, 0.6), light=(0.3, 0.6))
    scene[floor:] = wood
    for y in np.linspace(floor, height, 7):
        stroke(scene, [(0, y), (width, y)], tinted(wood, 0.6), 2)
        for x in chance.uniform(0, width, 5):
            stroke(scene, [(x, y), (x, y + 30)], tinted(wood, 0.7), 2)
    for _ in range(int(chance.integers(4, 7))):
        _framed(chance, scene)
    return scene


def _framed(chance: Chance, scene: Image) -> None:
    height, width = scene.shape[:2]
    across, down = int(chance.integers(70, 200)), int(chance.integers(80, 220))
    x, y = int(chance.integers(0, width - across)), int(chance.integers(0, height - down - 100))
    picture = plain((across, down), colour(chance))
    for _ in range(16):
        at = (chance.uniform(0, across), chance.uniform(0, down))
        disc(picture, at, (chance.uniform(5, 40), chance.uniform(5, 30)), colour(chance), chance.uniform(0, 3))
    scene[y : y + down, x : x + across] = picture
    corners: list[tuple[float, float]] = [(x, y), (x + across, y), (x + across, y + down), (x, y + down), (x, y)]
    stroke(scene, corners, tinted(colour(chance), 0.5), 8)


def _beach(chance: Chance, size: tuple[int, int]) -> Image:
    width, height = size
    scene = ramp(size, colour(chance, strong=(0.2, 0.5), light=(0.6, 0.9)), (240, 225, 200))
    sea, sand = int(height * chance.uniform(0.35, 0.5)), int(height * chance.uniform(0.58, 0.7))
    scene[sea:sand] = ramp((width, sand - sea), (40, 95, 140), (110, 170, 180))
    for _ in range(260):
        x, y = chance.uniform(0, width), chance.uniform(sea, sand)
        stroke(scene, [(x, y), (x + chance.uniform(10, 60), y + chance.uniform(-4, 4))], (205, 225, 230), 2)
    scene[sand:] = shaded(
        plain((width, height - sand), (215, 190, 150)), 1 + 0.2 * cloud(chance, (width, height - sand), (90, 40))
    )
    for _ in range(140):
        x, y = chance.uniform(0, width), chance.uniform(sand, height)
        disc(
            scene,
            (x, y),
            (chance.uniform(2, 9), chance.uniform(2, 6)),
            tinted((150, 125, 95), chance.uniform(0.5, 1.5)),
        )
    for _ in range(int(chance.integers(4, 8))):
        x, y, span = chance.uniform(0, width), chance.uniform(0.1, 0.6) * height, chance.uniform(50, 130)
        stroke(scene, [(x, y), (x + chance.uniform(-20, 20), sand + 60)], (230, 230, 225), 5)
        for part in range(6):
            left, right = x - span + part * span / 3, x - span + (part + 1) * span / 3
            fill(scene, [(left, y + 30), (x, y - 40), (right, y + 30)], colour(chance, strong=(0.5, 1), light=(0.5, 1)))
    return scene


PLACES: tuple[Place, ...] = (_studio, _street, _park, _room, _beach)
