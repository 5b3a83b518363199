"""What a copy and a second photograph of one scene differ in: whether what agrees stays in place."""

import cv2
import numpy as np

from services.matching.recognition.staying import in_place
from shared.fingerprints.compiled import Flags, Grey
from tests.drawn import a_scene


def moved(picture: Grey, x_px: float, y_px: float, *, scale: float = 1.0) -> Grey:
    matrix = np.array([[scale, 0, x_px], [0, scale, y_px]])
    return cv2.warpAffine(picture, matrix, picture.shape[::-1], borderMode=cv2.BORDER_REFLECT_101).astype(np.uint8)


def everywhere(picture: Grey) -> Flags:
    return np.ones((picture.shape[0] // 12 - 1, picture.shape[1] // 12 - 1), np.bool_)


def share_in_place(one: Grey, other: Grey) -> float:
    return float(in_place(one, other, everywhere(one))[0].mean())


def test_a_copy_stays_in_place_everywhere() -> None:
    scene = a_scene()
    assert share_in_place(scene, scene) == 1.0


def test_brighter_and_flatter_is_still_in_place() -> None:
    scene = a_scene()
    assert share_in_place(scene, (scene * 0.6 + 70).astype(np.uint8)) > 0.95


def test_an_alignment_that_is_a_little_wrong_as_a_whole_is_no_move() -> None:
    scene = a_scene()
    assert share_in_place(scene, moved(scene, 0.6, -0.4, scale=1.003)) > 0.9


def test_halves_that_moved_apart_are_not_both_in_place() -> None:
    scene = a_scene()
    left, right = moved(scene, -0.7, 0.0), moved(scene, 0.7, 0.4)
    seen_again = np.concatenate([left[:, :96], right[:, 96:]], axis=1)
    assert share_in_place(scene, seen_again) < 0.5


def test_waves_as_of_cloth_that_fell_anew_leave_little_in_place() -> None:
    scene = a_scene()
    y, x = np.mgrid[0:144, 0:192].astype(np.float32)
    seen_again = cv2.remap(scene, x + 1.2 * np.sin(y / 14), y + 1.2 * np.cos(x / 17), cv2.INTER_LINEAR)
    assert share_in_place(scene, seen_again.astype(np.uint8)) < 0.3


def test_what_covers_a_part_does_not_move_the_rest() -> None:
    scene, other = a_scene(), a_scene(2)
    covered = scene.copy()
    covered[:72, :96] = other[:72, :96]
    asked = everywhere(scene)
    asked[:6, :8] = False
    assert in_place(scene, covered, asked)[0][asked].mean() > 0.95


def test_only_what_is_asked_is_answered_and_a_flat_block_holds_nothing() -> None:
    scene = a_scene()
    asked = everywhere(scene)
    asked[:, :5] = False
    assert not in_place(scene, scene, asked)[0][:, :5].any()
    flat: Grey = np.full((144, 192), 90, np.uint8)
    assert not in_place(flat, flat, everywhere(flat))[0].any()


def test_too_few_blocks_prove_nothing() -> None:
    scene = a_scene()
    asked = np.zeros_like(everywhere(scene))
    asked[0, :3] = True
    assert not in_place(scene, scene, asked)[0].any()
