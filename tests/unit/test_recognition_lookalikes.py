"""What a mark repeats is masked wherever it is repeated, and nothing else is."""

import numpy as np
from PIL import Image, ImageDraw

from services.matching.recognition import ReferenceIndex
from services.matching.recognition.lookalikes import with_lookalikes
from services.matching.recognition.shelf import Entry
from shared.fingerprints import Fingerprint, Picture, fingerprint_query, fingerprint_reference
from shared.fingerprints.compiled import Flags

TILE_PX, FRAME_PX = 96, 128


def a_scene(seed: int, width: int, height: int) -> Image.Image:
    """Shapes and grain."""
    chance = np.random.default_rng(seed)
    scene = Image.fromarray(chance.integers(60, 200, (6, 8), dtype=np.uint8)).resize((width, height), 3)
    pen = ImageDraw.Draw(scene)
    for _ in range(60):
        x, y, w, h = chance.uniform(0, width), chance.uniform(0, height), *chance.uniform(8, 60, 2)
        shape = pen.ellipse if chance.integers(2) else pen.rectangle
        shape((x, y, x + w, y + h), fill=int(chance.integers(0, 255)))
    grain = chance.normal(0, 6, (height, width))
    return Image.fromarray(np.clip(np.asarray(scene) + grain, 0, 255).astype(np.uint8))


def in_a_tiled_frame(seed: int, width: int, height: int, frame_px: int = FRAME_PX) -> Image.Image:
    """A scene with the same pattern around it as every other one has."""
    tile = Image.new("L", (TILE_PX, TILE_PX), 40)
    pen = ImageDraw.Draw(tile)
    pen.ellipse((10, 12, 40, 44), outline=230, width=6)
    pen.rectangle((54, 20, 84, 38), fill=200)
    pen.polygon([(14, 84), (46, 56), (62, 86)], fill=140)
    pen.line((60, 52, 88, 84), fill=250, width=5)
    sheet = Image.new("L", (width, height))
    for x in range(0, width, TILE_PX):
        for y in range(0, height, TILE_PX):
            sheet.paste(tile, (x, y))
    sheet.paste(a_scene(seed, width - 2 * frame_px, height - 2 * frame_px), (frame_px, frame_px))
    return sheet


def picture_of(image: Image.Image) -> Picture:
    grey = np.asarray(image)
    return Picture(grey, grey.shape[1], grey.shape[0], "PNG")


def reference(image: Image.Image) -> Fingerprint:
    made = fingerprint_reference(picture_of(image))
    assert isinstance(made, Fingerprint), made
    return made


def masked_first(fingerprint: Fingerprint, rows: int, columns: int) -> tuple[Flags, Flags]:
    """A mask over the blocks in the upper left corner, and what becomes of it."""
    height, width = fingerprint.thumbnail.shape
    mask = np.zeros((height // 12 - 1, width // 12 - 1), np.bool_)
    mask[:rows, :columns] = True
    return mask, with_lookalikes(fingerprint, Entry("one", "twin", fingerprint).unit, mask)


def test_a_masked_part_of_a_pattern_masks_the_pattern_and_not_the_picture_in_it() -> None:
    fingerprint = reference(in_a_tiled_frame(1, 512, 512))
    mask, result = masked_first(fingerprint, 4, 4)
    assert (result & mask).sum() == mask.sum()
    # Of 512 px in 15 blocks the frame takes three whole blocks on every side.
    frame = np.ones_like(mask)
    frame[3:-3, 3:-3] = False
    assert result[frame].mean() > 0.8
    assert result[5:-5, 5:-5].sum() == 0


def test_a_picture_that_repeats_nothing_keeps_its_mask() -> None:
    mask, result = masked_first(reference(a_scene(2, 512, 400)), 4, 4)
    assert (result == mask).all()


def test_a_pattern_around_twins_of_other_shapes_makes_nobody_match() -> None:
    index = ReferenceIndex()
    for name, seed, size in (("wide", 1, (768, 512)), ("high", 2, (480, 720)), ("square", 3, (512, 512))):
        index.add(name, f"twin of {name}", True, reference(in_a_tiled_frame(seed, *size)))
    for seed, size in ((11, (768, 512)), (12, (480, 720)), (13, (512, 512)), (14, (768, 512)), (15, (480, 720))):
        query = fingerprint_query(picture_of(in_a_tiled_frame(seed, *size)))
        assert index.search(query, livemode=True) == [], (seed, size)
    copy = fingerprint_query(picture_of(in_a_tiled_frame(1, 768, 512)))
    assert [match.reference_id for match in index.search(copy, livemode=True)] == ["wide"]


def test_a_frame_narrower_than_a_block_makes_nobody_match() -> None:
    index = ReferenceIndex()
    for name, seed, size in (("wide", 1, (768, 512)), ("high", 2, (512, 768)), ("square", 3, (512, 512))):
        index.add(name, f"twin of {name}", True, reference(in_a_tiled_frame(seed, *size, frame_px=80)))
    assert index.own_blocks("wide") < 82  # of 165; 90 where a frame has to be as wide as a block
    for seed, size in ((11, (768, 512)), (12, (512, 768)), (13, (512, 512)), (14, (768, 512))):
        query = fingerprint_query(picture_of(in_a_tiled_frame(seed, *size, frame_px=80)))
        assert index.search(query, livemode=True) == [], (seed, size)
