"""Fingerprints: what is decoded, what is refused, and what survives a journey through bytes."""

import io
import math
import struct
import zlib
from dataclasses import replace

import cv2
import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageOps

from shared.fingerprints import (
    Fingerprint,
    Picture,
    QueryFingerprint,
    TooPlain,
    Undecodable,
    decode,
    fingerprint_query,
    fingerprint_reference,
)
from shared.fingerprints.area import shrunk_by_area
from shared.fingerprints.corners import SET_BITS, downwards, fast_corners, fast_margins
from shared.fingerprints.features import DESCRIPTOR_BITS, DOUBT_UNIT, LONG_QUERY, QUERY, find_features
from shared.fingerprints.whole import inner_box, turned, turned_hashes, whole_hash
from tests.drawn import read, saved


def drawn(width: int = 640, height: int = 480, seed: int = 1) -> Image.Image:
    """A textured picture: soft ground, shapes, and grain."""
    chance = np.random.default_rng(seed)
    ground = Image.fromarray(chance.integers(0, 255, (7, 9, 3), dtype=np.uint8)).resize((width, height), 3)
    pen = ImageDraw.Draw(ground)
    for _ in range(60):
        x, y, w, h = chance.uniform(0, width), chance.uniform(0, height), *chance.uniform(10, 90, 2)
        colour = tuple(int(value) for value in chance.integers(0, 255, 3))
        (pen.ellipse if chance.random() < 0.5 else pen.rectangle)((x, y, x + w, y + h), fill=colour)
    grain = chance.normal(0, 6, (height, width, 1))
    return Image.fromarray(np.clip(np.asarray(ground) + grain, 0, 255).astype(np.uint8))


def likeness(one: np.ndarray, other: np.ndarray) -> float:
    assert one.shape == other.shape
    return float(np.corrcoef(one.ravel().astype(float), other.ravel().astype(float))[0, 1])


GREY = read(saved(drawn(), "PNG")).grey


# --- decoding ------------------------------------------------------------------------------------------------


def test_a_picture_is_decoded_grey_and_small_and_keeps_its_original_size():
    picture = read(saved(drawn(1600, 1200), quality=90))
    assert picture.grey.shape == (384, 512)
    assert picture.grey.dtype == np.uint8
    assert (picture.width_px, picture.height_px, picture.format) == (1600, 1200, "JPEG")


@pytest.mark.parametrize(
    ("size", "decoded_to"),
    [((1080, 1350), (410, 512)), ((1080, 2340), (341, 739)), ((2340, 1080), (739, 341)), ((200, 5000), (41, 1024))],
)
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_a_long_picture_keeps_enough_of_its_width(size: tuple[int, int], decoded_to: tuple[int, int], kind: str):
    grey = read(saved(drawn(*size), kind)).grey
    assert np.abs(np.subtract(grey.shape[::-1], decoded_to)).max() <= 1


def test_a_long_query_has_more_points():
    square, long = (read(saved(drawn(*size), "PNG")) for size in ((800, 800), (600, 1300)))
    assert len(fingerprint_query(square).features) <= QUERY.points
    assert QUERY.points < len(fingerprint_query(long).features) <= LONG_QUERY.points


def test_a_small_picture_is_not_enlarged():
    assert read(saved(drawn(200, 120), "PNG")).grey.shape == (120, 200)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_the_orientation_in_the_metadata_is_honoured(orientation, kind):
    image = drawn(480, 320)
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = saved(image, kind, exif=exif)
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("L")
    picture = read(data)
    assert (picture.width_px, picture.height_px) == upright.size
    assert likeness(picture.grey, np.asarray(upright)) > 0.99


def in_mode(mode: str) -> tuple[Image.Image, str, dict[str, object]]:
    image = drawn(320, 240)
    if mode == "RGBA":
        image.putalpha(255)
        return image, "PNG", {}
    if mode == "16-bit":
        return Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257), "PNG", {}
    if mode == "P":
        return image.quantize(256), "GIF", {}
    if mode == "transparent palette":
        return image.quantize(200), "PNG", {"transparency": 255}
    if mode == "float":
        return image.convert("F"), "TIFF", {}
    return image.convert(mode), {"CMYK": "JPEG", "LA": "PNG", "L": "WEBP"}[mode], {}


@pytest.mark.parametrize("mode", ["RGBA", "LA", "L", "CMYK", "P", "16-bit", "transparent palette", "float"])
def test_every_common_kind_of_pixel_gives_the_same_picture(mode):
    image, kind, options = in_mode(mode)
    assert likeness(read(saved(image, kind, **options)).grey, np.asarray(drawn(320, 240).convert("L"))) > 0.97


def test_what_is_transparent_is_white():
    image = Image.new("RGBA", (64, 64), (0, 0, 0, 0))
    assert read(saved(image, "PNG")).grey.min() == 255


@pytest.mark.parametrize("kind", ["GIF", "WEBP"])
def test_of_a_moving_picture_the_first_frame_counts(kind):
    first, second = drawn(240, 160), drawn(240, 160, seed=2)
    picture = read(saved(first, kind, save_all=True, append_images=[second]))
    assert likeness(picture.grey, np.asarray(first.convert("L"))) > 0.95


def huge_png(width: int, height: int) -> bytes:
    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 999)) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"hello, world", "not an image"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not an image"),
        (b"\xff\xd8\xff", "not an image"),
        (saved(drawn(), quality=80)[:9000], "truncated"),
        (saved(drawn(), "PNG")[:9000], "truncated"),
        (saved(drawn(), "WEBP")[:900], "damaged"),
        (huge_png(10_001, 10_000), "pixels"),
        (huge_png(60_000, 60_000), "pixels"),
        (huge_png(200, 200), "damaged"),
        (b"\0" * (26 * 1024 * 1024 + 1), "bytes"),
        (saved(Image.new("L", (8, 8)), "PNG"), "a side is under"),
        (saved(Image.new("L", (3000, 20)), "PNG"), "longer than"),
    ],
    ids=lambda value: value if isinstance(value, str) else f"{len(value)} bytes",
)
def test_what_cannot_be_decoded_is_a_value_with_a_reason(data, reason):
    result = decode(data)
    assert isinstance(result, Undecodable)
    assert reason in result.reason


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP"])
def test_damaged_bytes_never_raise(kind):
    chance = np.random.default_rng(3)
    data = saved(drawn(96, 64), kind)
    for _ in range(40):
        broken = np.frombuffer(data, np.uint8).copy()
        broken[chance.integers(0, len(broken), 6)] = chance.integers(0, 255, 6)
        assert isinstance(decode(broken[: chance.integers(1, len(broken))].tobytes()), Picture | Undecodable)


@pytest.mark.parametrize(
    "target", [(64, 64), (410, 300), (511, 383), (256, 192), (512, 100), (7, 1), (600, 64), (300, 384)]
)
def test_shrinking_by_area_is_opencvs_to_the_bit(target):
    noise = np.random.default_rng(2).integers(0, 256, GREY.shape, np.uint8)
    for grey in (GREY, noise, noise[:, ::-1]):
        np.testing.assert_array_equal(
            shrunk_by_area(grey, *target), cv2.resize(grey, target, interpolation=cv2.INTER_AREA)
        )


# --- features ------------------------------------------------------------------------------------------------


def test_the_descriptor_of_the_mirrored_picture_is_known_without_looking_at_it():
    width = GREY.shape[1]
    foreseen = find_features(GREY, QUERY).mirrored(width)
    found = find_features(np.ascontiguousarray(GREY[:, ::-1]), QUERY)
    gaps = np.abs(foreseen.points[:, None, :2] - found.points[None, :, :2]).sum(axis=2)
    gaps += 100 * np.abs(foreseen.points[:, None, 2] - found.points[None, :, 2])
    nearest = gaps.argmin(axis=1)
    same = gaps.min(axis=1) < 0.01
    bits = np.bitwise_count(foreseen.descriptors[same] ^ found.descriptors[nearest[same]]).sum(axis=1)
    assert same.mean() > 0.6
    assert np.median(bits) < 16
    apart = np.abs(foreseen.doubts[same].astype(int) - found.doubts[nearest[same]])
    assert np.median(apart) < 10


def test_a_bit_is_in_doubt_where_its_samples_hardly_differ():
    plain = find_features(cv2.convertScaleAbs(GREY, alpha=0.1, beta=100), replace(QUERY, faint_threshold=1))
    assert len(plain) > 100
    assert plain.doubts.shape == (len(plain), DESCRIPTOR_BITS)
    assert np.median(plain.doubts) > 2 * np.median(find_features(GREY, QUERY).doubts)
    assert plain.doubts.max() == round(-DOUBT_UNIT * math.log(1 - 0.43)) < 256


@pytest.mark.parametrize("threshold", [1, 5, 7, 20, 254])
@pytest.mark.parametrize("size", [(384, 512), (41, 43), (40, 40), (61, 56)])
def test_corners_are_those_opencv_finds(threshold, size):
    noise = np.random.default_rng(size[0]).integers(0, 256, size, np.uint8)
    for grey in (cv2.resize(GREY, size[::-1]), noise, cv2.blur(noise, (3, 3)), np.where(noise > 127, 255, 0)):
        theirs = cv2.FastFeatureDetector.create(threshold).detect(grey.astype(np.uint8))
        ours = fast_corners(fast_margins(grey.astype(np.uint8)), threshold, SET_BITS)
        assert ours.T.tolist() == [list(map(int, corner.pt)) for corner in theirs]


def test_our_sort_is_numpys_stable_sort_downwards():
    chance = np.random.default_rng(5)
    for values in (
        chance.normal(size=3000),
        chance.integers(-5, 5, 3000) / 3,
        1 + chance.integers(0, 9, 3000) * 1e-12,
        np.zeros(0),
    ):
        np.testing.assert_array_equal(downwards(values), np.argsort(-values, kind="stable"))


def test_points_are_spread_over_the_picture():
    points = find_features(GREY, QUERY).points
    cells, _, _ = np.histogram2d(points[:, 0], points[:, 1], bins=4, range=((0, 512), (0, 384)))
    assert cells.min() > 15


# --- the hash of the whole picture ---------------------------------------------------------------------------


def test_hashes_of_the_eight_turns_come_from_one_transform():
    hashes = turned_hashes(GREY)
    for turn in range(8):
        bits = int(np.bitwise_count(hashes[turn] ^ whole_hash(turned(GREY, turn))).sum())
        assert bits <= 8, turn


def test_flat_borders_are_trimmed_and_a_plain_picture_is_left_alone():
    framed = np.full((500, 700), 255, np.uint8)
    framed[58 : 58 + 384, 94 : 94 + 512] = GREY
    x0, y0, x1, y1 = inner_box(framed)
    assert np.abs(np.subtract((x0, y0, x1, y1), (94, 58, 606, 442))).max() <= 8
    assert inner_box(np.full((100, 200), 7, np.uint8)) == (0, 0, 200, 100)


# --- fingerprints --------------------------------------------------------------------------------------------


def reference_of(image: Image.Image) -> Fingerprint:
    made = fingerprint_reference(read(saved(image, "PNG")))
    assert isinstance(made, Fingerprint), made
    return made


def test_a_fingerprint_is_the_same_after_a_journey_through_bytes():
    one = reference_of(drawn())
    other = Fingerprint.from_bytes(one.to_bytes())
    assert other.to_bytes() == one.to_bytes()
    for name in ("whole", "points", "descriptors", "thumbnail"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    assert (other.size_px, other.original_px) == ((512, 384), (640, 480))


def test_a_fingerprint_is_compact():
    one = reference_of(drawn(1080, 1350))
    assert len(one.to_bytes()) < 40_000
    assert len(one.global_hash) == 32
    assert max(one.thumbnail.shape) == 192


def test_a_query_fingerprint_is_the_same_after_a_journey_through_bytes():
    one = fingerprint_query(read(saved(drawn(900, 700), quality=70)))
    other = QueryFingerprint.from_bytes(one.to_bytes())
    np.testing.assert_array_equal(one.grey, other.grey)
    np.testing.assert_array_equal(one.features.points, other.features.points)
    np.testing.assert_array_equal(one.features.descriptors, other.features.descriptors)
    assert other.original_px == (900, 700)


@pytest.mark.parametrize("kind", [Fingerprint, QueryFingerprint])
def test_malformed_fingerprints_are_refused_with_a_reason(kind):
    made = reference_of(drawn()) if kind is Fingerprint else fingerprint_query(read(saved(drawn())))
    data = made.to_bytes()
    for broken in (b"", b"tf1", b"x" * 100, data[:60], data[:-1], data[:300], b"tf9R" + data[4:]):
        with pytest.raises(ValueError, match="fingerprint"):
            kind.from_bytes(broken)


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"points": 0}, "points"),
        ({"points": 5_000}, "points"),
        ({"original_px": (2**32 - 1, 10)}, "cannot be"),
        ({"thumbnail": (2, 190)}, "thumbnail .* 190 x 2 px"),
        ({"thumbnail": (200, 190)}, "thumbnail .* 190 x 200 px"),
    ],
    ids=["no points", "too many points", "larger than any picture", "a flat thumbnail", "a large thumbnail"],
)
def test_a_fingerprint_that_no_picture_has_is_refused(changed, reason):
    made = reference_of(drawn())
    points = np.resize(made.points, (changed.get("points", len(made.points)), 4))
    descriptors = np.resize(made.descriptors, (len(points), 4))
    size = changed.get("thumbnail", made.thumbnail.shape)
    odd = replace(
        made,
        points=points,
        descriptors=descriptors,
        original_px=changed.get("original_px", made.original_px),
        thumbnail_jpeg=cv2.imencode(".jpg", np.zeros(size, np.uint8))[1].tobytes(),
    )
    with pytest.raises(ValueError, match=reason):
        Fingerprint.from_bytes(odd.to_bytes())


@pytest.mark.parametrize("colour", ["white", "skyblue", "black"])
def test_a_plain_picture_is_refused_with_what_was_measured(colour):
    made = fingerprint_reference(read(saved(Image.new("RGB", (800, 600), colour))))
    assert isinstance(made, TooPlain)
    assert "too plain" in made.reason
    assert made.measured["points"] == 0


def test_a_small_mark_on_a_plain_wall_is_too_plain():
    wall = Image.new("RGB", (1200, 900), "ivory")
    wall.paste(drawn(100, 80), (1050, 780))
    assert isinstance(fingerprint_reference(read(saved(wall))), TooPlain)


def test_a_query_is_too_plain_by_the_rule_of_registration():
    wall = Image.new("RGB", (1200, 900), "ivory")
    assert "0 points" in fingerprint_query(read(saved(wall))).too_plain.reason
    wall.paste(drawn(100, 80), (1050, 780))
    assert "one small place" in fingerprint_query(read(saved(wall))).too_plain.reason
    assert fingerprint_query(read(saved(drawn(640, 480)))).too_plain is None
