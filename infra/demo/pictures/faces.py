"""Heads: a face and the hair around it."""

from dataclasses import dataclass

import numpy as np

from infra.demo.pictures.shapes import (
    Chance,
    Colour,
    Image,
    Point,
    colour,
    cover,
    disc,
    fill,
    oval,
    rough,
    stroke,
    tinted,
)

SKINS: tuple[Colour, ...] = (
    (244, 212, 188),
    (224, 178, 146),
    (198, 145, 110),
    (156, 104, 76),
    (112, 72, 52),
    (84, 54, 42),
)


@dataclass(frozen=True)
class Face:
    """What a person looks like, whatever they wear."""

    skin: Colour
    hair: Colour
    eyes: Colour
    lips: Colour
    narrow: float
    hair_length: float
    curl: float
    freckles: int


def face_of(chance: Chance) -> Face:
    """Any face."""
    skin = SKINS[int(chance.integers(len(SKINS)))]
    return Face(
        skin=skin,
        hair=colour(chance, strong=(0.2, 0.8), light=(0.08, 0.6)),
        eyes=colour(chance, strong=(0.3, 0.7), light=(0.2, 0.6)),
        lips=(int(chance.integers(150, 215)), int(chance.integers(50, 100)), int(chance.integers(70, 120))),
        narrow=chance.uniform(0.7, 0.84),
        hair_length=chance.uniform(0.6, 3.2),
        curl=chance.uniform(0.02, 0.3),
        freckles=int(chance.integers(0, 60)),
    )


def draw_hair_behind(chance: Chance, canvas: Image, face: Face, centre: Point, radius: float) -> None:
    """The hair that falls behind the neck."""
    x, y = centre
    disc(canvas, (x, y - radius * 0.05), (radius * 1.02, radius * 1.18), tinted(face.hair, 0.7))
    for _ in range(220):
        start = (x + chance.uniform(-0.95, 0.95) * radius, y - radius * chance.uniform(0, 0.9))
        _strand(chance, canvas, face, start, radius * face.hair_length)


def draw_head(chance: Chance, canvas: Image, face: Face, centre: Point, radius: float, turn: float) -> None:
    """Face, then fringe; `turn` moves the features to one side, -1 to 1."""
    x, y = centre
    skin = rough(chance, np.full_like(canvas, face.skin), 4)
    cover(canvas, oval(centre, (radius * face.narrow, radius)), skin, round_px=radius)
    for _ in range(face.freckles):
        spot = (x + chance.uniform(-0.5, 0.5) * radius, y + chance.uniform(-0.1, 0.4) * radius)
        disc(canvas, spot, (1.6, 1.6), tinted(face.skin, 0.75))
    middle = x + turn * radius * 0.2
    for side in (-1, 1):
        _eye(canvas, face, (middle + side * radius * 0.32, y - radius * 0.06), radius)
    nose = [(middle - 2, y - radius * 0.05), (middle + turn * 8 + radius * 0.1, y + radius * 0.26)]
    stroke(canvas, [*nose, (middle - radius * 0.08, y + radius * 0.28)], tinted(face.skin, 0.65), 2)
    mouth = (middle, y + radius * 0.52)
    disc(canvas, mouth, (radius * 0.25, radius * 0.1), face.lips)
    stroke(
        canvas,
        [(mouth[0] - radius * 0.25, mouth[1]), mouth, (mouth[0] + radius * 0.25, mouth[1])],
        tinted(face.lips, 0.5),
        2,
    )
    cap = oval((x, y - radius * 0.12), (radius * 0.95, radius * 1.02), 0, (np.pi, 2 * np.pi))
    fill(canvas, [*cap, (x + radius * 0.5, y - radius * 0.5), (x - radius * 0.2, y - radius * 0.62)], face.hair)
    for _ in range(130):
        start = (x + chance.uniform(-0.9, 0.9) * radius, y - radius * chance.uniform(0.6, 1.1))
        away = 1.0 if start[0] > x else -1.0
        end = (x + away * radius * chance.uniform(0.7, 1.0), y + radius * chance.uniform(-0.4, 0.3))
        stroke(canvas, [start, ((start[0] + end[0]) / 2 + away * 9, start[1] + 9), end], _tone(chance, face), 2)


def _eye(canvas: Image, face: Face, at: Point, radius: float) -> None:
    x, y = at
    disc(canvas, at, (radius * 0.17, radius * 0.09), (248, 246, 242))
    disc(canvas, at, (radius * 0.085, radius * 0.088), face.eyes)
    disc(canvas, at, (radius * 0.04, radius * 0.04), (15, 12, 12))
    stroke(canvas, oval(at, (radius * 0.19, radius * 0.11), 0, (np.pi, 2 * np.pi)), tinted(face.hair, 0.4), 2)
    brow = [(x - radius * 0.2, y - radius * 0.2), (x, y - radius * 0.27), (x + radius * 0.2, y - radius * 0.19)]
    stroke(canvas, brow, tinted(face.hair, 0.7), max(2, int(radius * 0.05)))


def _strand(chance: Chance, canvas: Image, face: Face, start: Point, length: float) -> None:
    x, y = start
    swing, phase = length * face.curl * 0.5, chance.uniform(0, 6)
    steps = np.linspace(0, 1, 7)
    end = length * chance.uniform(0.6, 1.0)
    points = [(x + swing * np.sin(phase + 6 * step) * step, y + step * end) for step in steps]
    stroke(canvas, points, _tone(chance, face), int(chance.integers(2, 4)))


def _tone(chance: Chance, face: Face) -> Colour:
    return tinted(face.hair, chance.uniform(0.55, 1.7))
