"""A whole picture: a person in clothes, in a pose, somewhere; with the label that all pictures of an agency carry."""

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from infra.demo.pictures.backgrounds import background
from infra.demo.pictures.fabrics import fabric
from infra.demo.pictures.faces import Face, draw_hair_behind, draw_head, face_of
from infra.demo.pictures.shapes import (
    Chance,
    Image,
    Point,
    colour,
    cover,
    disc,
    fill,
    limb,
    oval,
    rough,
    stroke,
    tinted,
)

SIZE = (800, 1000)


@dataclass(frozen=True)
class Look:
    """A person, known by a seed."""

    seed: int


@dataclass(frozen=True)
class Shot:
    """How one picture is taken: equal seeds give the same place, the same pose, the same clothes."""

    place: int
    pose: int
    clothes: int
    label: str = ""


def look_of(number: int) -> Look:
    """The look of the person with this number."""
    return Look(10_007 * (number + 1))


def person(look: Look) -> Face:
    """What this person looks like."""
    return face_of(np.random.default_rng((look.seed, 1)))


def draw(look: Look, shot: Shot) -> Image:
    """The picture; the same arguments always give the same pixels."""
    face = person(look)
    clothes = np.random.default_rng((look.seed, shot.clothes, 2))
    pose = _pose(np.random.default_rng((shot.pose, 3)))
    canvas = background_of(shot.place).copy()
    _draw_body(clothes, canvas, face, pose)
    if shot.label:
        _draw_label(canvas, shot.label)
    return rough(clothes, canvas, 3)


@lru_cache(maxsize=8)
def background_of(place: int) -> Image:
    """The place without anyone."""
    return background(np.random.default_rng((place, 4)), SIZE)


@dataclass(frozen=True)
class _Pose:
    neck: Point
    shoulders: tuple[Point, Point]
    hips: tuple[Point, Point]
    elbows: tuple[Point, Point]
    hands: tuple[Point, Point]
    knees: tuple[Point, Point]
    feet: tuple[Point, Point]
    head: Point
    unit: float
    turn: float


def _pose(chance: Chance) -> _Pose:
    """Joints of a standing person; `unit` is the height of the head in pixels."""
    width, height = SIZE
    unit = chance.uniform(0.15, 0.24) * height
    x, y = width * chance.uniform(0.4, 0.6), height * chance.uniform(0.1, 0.16) + unit
    lean, twist = chance.uniform(-0.2, 0.2) * unit, chance.uniform(0.75, 1.0)

    def pair(reach: float, drop: float, shift: float) -> tuple[Point, Point]:
        return (
            (x - reach * unit * twist + shift, y + drop * unit + chance.uniform(-0.06, 0.06) * unit),
            (x + reach * unit * twist + shift, y + drop * unit + chance.uniform(-0.06, 0.06) * unit),
        )

    shoulders, hips = pair(0.85, 0.45, 0), pair(0.5, 2.6, lean)
    elbows = _reach(chance, shoulders, unit * 1.25, (0.1, 0.9))
    hands = _reach(chance, elbows, unit * 1.15, (-1.2, 1.4))
    knees = _reach(chance, hips, unit * 1.7, (-0.05, 0.25))
    feet = _reach(chance, knees, unit * 1.7, (-0.15, 0.15))
    head = (x + chance.uniform(-0.12, 0.12) * unit, y - unit * 0.5)
    return _Pose((x, y), shoulders, hips, elbows, hands, knees, feet, head, unit, chance.uniform(-1, 1))


def _reach(
    chance: Chance, start: tuple[Point, Point], length: float, spread: tuple[float, float]
) -> tuple[Point, Point]:
    """Where both limbs end: each hangs down, turned outwards by an angle."""
    left, right = chance.uniform(*spread), chance.uniform(*spread)
    return (
        (start[0][0] - length * np.sin(left), start[0][1] + length * np.cos(left)),
        (start[1][0] + length * np.sin(right), start[1][1] + length * np.cos(right)),
    )


def _draw_body(chance: Chance, canvas: Image, face: Face, pose: _Pose) -> None:
    top, trousers = fabric(chance, SIZE), fabric(chance, SIZE)
    skin = rough(chance, np.full_like(canvas, face.skin), 4)
    unit = pose.unit
    draw_hair_behind(chance, canvas, face, pose.head, unit * 0.52)
    _draw_legs(chance, canvas, pose, trousers)
    for shoulder, elbow, hand in zip(pose.shoulders, pose.elbows, pose.hands, strict=True):
        sleeve = top if chance.random() < 0.75 else skin
        cover(canvas, limb(elbow, hand, (unit * 0.24, unit * 0.17)), sleeve, round_px=unit * 0.2)
        disc(canvas, hand, (unit * 0.17, unit * 0.2), face.skin)
        cover(canvas, limb(shoulder, elbow, (unit * 0.3, unit * 0.25)), top, round_px=unit * 0.25)
    cover(canvas, limb(pose.neck, pose.head, (unit * 0.26, unit * 0.24)), skin, round_px=unit * 0.3)
    cover(canvas, _torso(pose), top, round_px=unit * 0.7)
    _draw_collar(chance, canvas, face, pose)
    draw_head(chance, canvas, face, pose.head, unit * 0.5, pose.turn)
    _draw_extras(chance, canvas, pose)


def _torso(pose: _Pose) -> list[Point]:
    (left, right), (hip_left, hip_right), unit = pose.shoulders, pose.hips, pose.unit
    waist = ((left[1] + hip_left[1]) / 2) + unit * 0.3
    middle = (hip_left[0] + hip_right[0]) / 2
    return [
        (pose.neck[0] - unit * 0.28, pose.neck[1] + unit * 0.12),
        (pose.neck[0] + unit * 0.28, pose.neck[1] + unit * 0.12),
        (right[0] + unit * 0.1, right[1] - unit * 0.16),
        (right[0] + unit * 0.05, right[1] + unit * 0.5),
        (middle + unit * 0.55, waist),
        (hip_right[0] + unit * 0.25, hip_right[1] + unit * 0.3),
        (hip_left[0] - unit * 0.25, hip_left[1] + unit * 0.3),
        (middle - unit * 0.55, waist),
        (left[0] - unit * 0.05, left[1] + unit * 0.5),
        (left[0] - unit * 0.1, left[1] - unit * 0.16),
    ]


def _draw_legs(chance: Chance, canvas: Image, pose: _Pose, cloth: Image) -> None:
    unit = pose.unit
    if chance.random() < 0.4:
        hem = pose.hips[0][1] + unit * chance.uniform(1.6, 3.0)
        left, right = pose.hips[0][0] - unit * 0.9, pose.hips[1][0] + unit * 0.9
        skirt = [(pose.hips[0][0] - unit * 0.2, pose.hips[0][1]), (pose.hips[1][0] + unit * 0.2, pose.hips[1][1])]
        cover(canvas, [*skirt, (right, hem), (left, hem)], cloth, round_px=unit)
        return
    for hip, knee, foot in zip(pose.hips, pose.knees, pose.feet, strict=True):
        cover(canvas, limb(knee, foot, (unit * 0.33, unit * 0.24)), cloth, round_px=unit * 0.3)
        cover(canvas, limb(hip, knee, (unit * 0.46, unit * 0.34)), cloth, round_px=unit * 0.4)
        disc(canvas, (foot[0], foot[1] + unit * 0.1), (unit * 0.4, unit * 0.17), colour(chance, light=(0.1, 0.9)))


def _draw_collar(chance: Chance, canvas: Image, face: Face, pose: _Pose) -> None:
    (x, y), unit = pose.neck, pose.unit
    depth = chance.uniform(0.3, 0.8) * unit
    fill(canvas, [(x - unit * 0.27, y + unit * 0.1), (x + unit * 0.27, y + unit * 0.1), (x, y + depth)], face.skin)
    tone = colour(chance)
    for side in (-1, 1):
        stroke(canvas, [(x + side * unit * 0.28, y + unit * 0.08), (x, y + depth)], tone, int(chance.integers(2, 9)))
    for share in np.linspace(1.2, 2.5, int(chance.integers(0, 7))):
        disc(canvas, (x, y + share * unit), (unit * 0.05, unit * 0.05), tinted(tone, 1.6))


def _draw_extras(chance: Chance, canvas: Image, pose: _Pose) -> None:
    """Glasses, a hat, a necklace, a bag: each only sometimes."""
    (x, y), unit = pose.head, pose.unit
    middle = x + pose.turn * unit * 0.1
    if chance.random() < 0.3:
        for side in (-1, 1):
            rim = oval((middle + side * unit * 0.17, y - unit * 0.02), (unit * 0.13, unit * 0.11))
            stroke(canvas, rim, (20, 20, 24), 4)
    if chance.random() < 0.3:
        tone = colour(chance, strong=(0.4, 1), light=(0.2, 0.8))
        disc(canvas, (x, y - unit * 0.4), (unit * 0.8, unit * 0.13), tinted(tone, 0.8))
        fill(canvas, oval((x, y - unit * 0.42), (unit * 0.45, unit * 0.36), 0, (np.pi, 2 * np.pi)), tone)
        stroke(canvas, [(x - unit * 0.45, y - unit * 0.45), (x + unit * 0.45, y - unit * 0.45)], tinted(tone, 1.7), 6)
    if chance.random() < 0.5:
        for bead in oval(pose.neck, (unit * 0.3, unit * 0.5), 0, (0.1, np.pi - 0.1))[::3]:
            disc(canvas, bead, (unit * 0.045, unit * 0.045), colour(chance, light=(0.7, 1)))
    if chance.random() < 0.6:
        hand = pose.hands[int(chance.integers(2))]
        size = unit * chance.uniform(0.4, 0.7)
        corners = [(hand[0] - size, hand[1] + 14), (hand[0] + size, hand[1] + 14)]
        bag = [*corners, (hand[0] + size * 0.8, hand[1] + size * 1.6), (hand[0] - size * 0.8, hand[1] + size * 1.6)]
        cover(canvas, bag, fabric(chance, SIZE), round_px=size * 0.3)
        stroke(canvas, oval((hand[0], hand[1] + 14), (size * 0.6, size * 0.5), 0, (np.pi, 2 * np.pi)), (40, 30, 25), 5)


def _draw_label(canvas: Image, text: str) -> None:
    height = canvas.shape[0]
    (across, down), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_DUPLEX, 0.7, 1)
    box = canvas[height - 62 : height - 18, 18 : 18 + across + 60]
    box[:] = (box * 0.25).astype(np.uint8)
    disc(canvas, (40.0, height - 40.0), (12, 12), (120, 220, 255))
    cv2.putText(
        canvas, text, (62, height - 40 + down // 2), cv2.FONT_HERSHEY_DUPLEX, 0.7, (255, 255, 255), 1, cv2.LINE_AA
    )
