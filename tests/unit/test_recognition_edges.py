"""Edges: a copy beneath letters and lines is known by what still runs where it ran."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from services.matching.recognition.blocks import View, compare
from services.matching.recognition.edge_evidence import EDGES_LOG_ODDS, EdgeAgreement, log_odds_of_edges
from services.matching.recognition.edges import Edges, compare_edges
from services.matching.recognition.evidence import IMPOSSIBLE, probability
from shared.fingerprints.compiled import Flags, Grey
from tests.drawn import a_scene, answers, drawn, found, index_of, names

ALL = EdgeAgreement(edged=120, some=1.0, most=0.9, held=100, in_place=60)
OVERLAID = EdgeAgreement(edged=120, some=0.9, most=0.6, held=60, in_place=40)


# --- blocks --------------------------------------------------------------------------------------------------


def test_slopes_are_those_of_sobels_filter_inside_the_rim() -> None:
    own, other = np.random.default_rng(4).integers(0, 256, (2, 48, 36), np.uint8)
    slopes = compare_edges(own, other, np.ones((3, 2), np.bool_)).slopes
    sobel = [cv2.Sobel(grey, cv2.CV_16S, *axes) for grey in (own, other) for axes in ((1, 0), (0, 1))]
    for found_slopes, expected in zip(slopes, sobel, strict=True):
        np.testing.assert_array_equal(found_slopes[1:-1, 1:-1], expected[1:-1, 1:-1])


def ruled(scene: Grey) -> Grey:
    """Lines of 3 px over all of it, so that none of its blocks is free of them."""
    lined = scene.copy()
    for x in range(-144, 192, 32):
        cv2.line(lined, (x, 0), (x + 144, 144), 20, 3)
    return lined


def edges_of(own: Grey, query: Grey) -> Edges:
    return compare_edges(own, query, np.ones((own.shape[0] // 12 - 1, own.shape[1] // 12 - 1), np.bool_))


def share_in_place(edges: Edges) -> float:
    stays, held = edges.in_place
    return float(stays.sum() / max(1, held.sum()))


def test_a_copy_has_all_edges_in_place() -> None:
    edges = edges_of(a_scene(), a_scene())
    assert edges.edged.all()
    assert edges.share.min() > 0.99
    assert share_in_place(edges) == 1.0


def test_light_and_contrast_change_no_direction() -> None:
    edges = edges_of(a_scene(), (a_scene() * 0.5 + 90).astype(np.uint8))
    assert edges.share.mean() > 0.95
    assert share_in_place(edges) > 0.95


def test_between_lines_the_edges_stay_in_place() -> None:
    edges = edges_of(a_scene(), ruled(a_scene()))
    assert 0.3 < edges.share.mean() < 0.8
    assert share_in_place(edges) > 0.6


def test_another_scene_beneath_the_same_lines_has_few_of_the_edges() -> None:
    edges = edges_of(a_scene(), ruled(a_scene(2)))
    assert edges.share.mean() < 0.25


def test_a_negative_runs_the_other_way() -> None:
    assert edges_of(a_scene(), 255 - a_scene()).share.max() == 0


def test_what_moved_by_itself_does_not_stay() -> None:
    y, x = np.mgrid[0:144, 0:192].astype(np.float32)
    again = cv2.remap(a_scene(), x + 0.9 * np.sin(y / 14), y + 0.9 * np.cos(x / 17), cv2.INTER_LINEAR)
    edges = edges_of(a_scene(), again.astype(np.uint8))
    assert edges.share.mean() > 0.5
    assert share_in_place(edges) < 0.4


def test_a_flat_picture_has_no_edges() -> None:
    flat = np.full((144, 192), 90, np.uint8)
    edges = edges_of(flat, a_scene())
    assert not edges.edged.any()
    assert edges.share.max() == 0
    assert not edges.in_place[1].any()


def test_blocks_that_are_not_usable_are_not_asked() -> None:
    usable = np.zeros((11, 15), np.bool_)
    usable[:, :4] = True
    edges = compare_edges(a_scene(), a_scene(), usable)
    assert not edges.edged[:, 4:].any()
    assert not edges.in_place[1][:, 4:].any()


# --- what they prove -----------------------------------------------------------------------------------------


def edge_odds(edges: EdgeAgreement, *, bits: float = 40, stretch: float = 1.0, marked: float = 0.0) -> float:
    return log_odds_of_edges(edges, bits, stretch, marked)


@pytest.mark.parametrize("agreement", [ALL, OVERLAID], ids=["all", "overlaid"])
def test_enough_edges_prove_a_copy(agreement: EdgeAgreement) -> None:
    assert edge_odds(agreement) == EDGES_LOG_ODDS


@pytest.mark.parametrize(
    "weaker",
    [
        replace(ALL, edged=29, held=29, in_place=29),
        replace(ALL, held=15, in_place=15),
        replace(ALL, most=0.79, some=0.79),
        replace(ALL, in_place=29),
        replace(OVERLAID, edged=39),
        replace(OVERLAID, held=19, in_place=19),
        replace(OVERLAID, in_place=26),
        replace(OVERLAID, some=0.84),
        replace(OVERLAID, most=0.49),
        replace(OVERLAID, middle=0.79),
        replace(ALL, middle=0.69),
    ],
)
def test_each_lack_leaves_it_unproven(weaker: EdgeAgreement) -> None:
    assert edge_odds(weaker) == IMPOSSIBLE


def test_points_that_are_far_apart_leave_it_unproven() -> None:
    assert edge_odds(ALL, bits=56) == IMPOSSIBLE
    assert edge_odds(OVERLAID, bits=51) == IMPOSSIBLE


def test_a_stretch_leaves_it_unproven() -> None:
    assert edge_odds(ALL, stretch=1.21) == IMPOSSIBLE


def test_beside_known_marks_some_edges_are_not_enough() -> None:
    assert edge_odds(OVERLAID, marked=0.31) == IMPOSSIBLE
    assert edge_odds(ALL, marked=0.31) == EDGES_LOG_ODDS


def asked(own: Grey, query: Grey, shared: Flags | None = None) -> EdgeAgreement:
    blocks = compare(View(own), query, np.eye(3))
    assert blocks is not None
    return EdgeAgreement.of(blocks, shared)


def with_another_middle(scene: Grey) -> Grey:
    framed = scene.copy()
    framed[26:118, 36:156] = a_scene(2)[26:118, 36:156]
    return framed


def test_of_a_copy_every_block_shows_its_edges_in_place() -> None:
    edges = asked(a_scene(), a_scene())
    assert edges == EdgeAgreement(edged=165, some=1.0, most=1.0, held=165, in_place=165, middle=1.0)
    assert edges.is_hopeful


def test_blocks_that_others_share_are_not_asked() -> None:
    shared = np.zeros((11, 15), np.bool_)
    shared[:, 3:12] = True
    edges = asked(a_scene(), with_another_middle(a_scene()), shared)
    assert edges.edged == 11 * 6
    assert edges.most > 0.9
    assert edges.middle is None


def test_another_middle_in_the_same_frame_is_told() -> None:
    edges = asked(a_scene(), with_another_middle(a_scene()))
    assert edges.most > 0.5
    assert edges.middle is not None
    assert edges.middle < 0.5
    assert edge_odds(edges) == IMPOSSIBLE


def test_of_a_few_blocks_nothing_is_said() -> None:
    shared = np.ones((11, 15), np.bool_)
    shared[:2] = False
    shared[0, 0] = True
    assert asked(a_scene(), a_scene(), shared) == EdgeAgreement(edged=29)


# --- the whole way -------------------------------------------------------------------------------------------


def written_over(picture: Image.Image) -> Image.Image:
    """Lines of large letters over the whole width and height."""
    over = picture.copy()
    pen, font = ImageDraw.Draw(over), ImageFont.load_default(44)
    for line in range(10):
        text = "the look of the week is here again today"
        pen.text((6, 2 + 48 * line), text, font=font, fill="white", stroke_width=1, stroke_fill="black")
    return over


def test_a_copy_written_over_from_top_to_bottom_is_found_by_its_edges() -> None:
    index = index_of({f"ref-{seed}": drawn(seed) for seed in range(1, 9)})
    answered = answers(index, [written_over(drawn(seed)) for seed in range(1, 9)])
    assert [names(matches) for matches in answered] == [[f"ref-{seed}"] for seed in range(1, 9)]
    # No other rule gives exactly this.
    by_edges = [matches[0] for matches in answered if matches[0].score == round(probability(EDGES_LOG_ODDS), 4)]
    assert len(by_edges) > 4
    assert all(match.covered_share > 0.1 for match in by_edges)


def test_other_pictures_with_the_letters_of_the_only_reference_that_has_them_are_not_found() -> None:
    index = index_of({"ref-1": written_over(drawn(1))})
    assert found(index, written_over(drawn(1))) == ["ref-1"]
    for stranger in range(20, 28):
        assert found(index, written_over(drawn(stranger))) == []
