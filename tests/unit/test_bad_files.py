"""Files that are odd or no pictures, through decoding and through `twintally matching search`: each has its outcome."""

import io
import json
import os
import signal
import struct
import zlib

import numpy as np
import pytest
from PIL import Image
from rich.progress import Progress
from typer.testing import CliRunner

from services.matching.cli import app
from shared.fingerprints import Picture, Undecodable, decode
from tests.drawn import drawn
from tests.fuzz import play as module
from tests.fuzz.corpus import corpus
from tests.fuzz.mutations import mutated
from tests.fuzz.play import MEMORY_MAX_MB, examine, play

TURNS = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def turned_by_exif(image: Image.Image, orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    turn = TURNS[orientation]
    return saved(image if turn is None else image.transpose(turn), "JPEG", exif=exif)


def deep(image: Image.Image) -> Image.Image:
    return Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)


def bomb_announced(width: int, height: int) -> bytes:
    """A PNG of some hundred bytes that announces so many pixels."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(bytes(9999))) + chunk(b"IEND", b"")


def with_alpha(image: Image.Image) -> Image.Image:
    image = image.copy()
    image.putalpha(255)
    return image


@pytest.fixture(scope="module")
def searched(tmp_path_factory) -> dict[str, str]:
    """The outcome of each file, searched for the picture that the odd but good ones show."""
    folder = tmp_path_factory.mktemp("bad")
    references, queries = folder / "references", folder / "queries"
    references.mkdir()
    queries.mkdir()
    picture, other = drawn(3), drawn(4)
    (references / "picture.png").write_bytes(saved(picture, "PNG"))
    for name, data in (good_files(picture, other) | bad_files(picture)).items():
        (queries / name).write_bytes(data)
    out = folder / "out.jsonl"
    given = ("search", "--references", references, "--queries", queries, "--out", out)
    result = CliRunner().invoke(app, [str(part) for part in given])
    assert result.exit_code == 0, result.output
    return {row["query"]: row["outcome"] for row in map(json.loads, out.read_text().splitlines())}


def good_files(picture: Image.Image, other: Image.Image) -> dict[str, bytes]:
    moving = {"save_all": True, "append_images": [other], "duration": 90}
    files = {
        "moving.gif": saved(picture, "GIF", **moving),
        "moving.webp": saved(picture, "WEBP", **moving),
        "moving.png": saved(picture, "PNG", **moving),
        "cmyk.jpg": saved(picture.convert("CMYK"), "JPEG"),
        "cmyk.tif": saved(picture.convert("CMYK"), "TIFF"),
        "deep.png": saved(deep(picture), "PNG"),
        "deep.tif": saved(deep(picture), "TIFF"),
        "palette.png": saved(picture.quantize(256), "PNG"),
        "palette.gif": saved(picture.quantize(256), "GIF"),
        "alpha.png": saved(with_alpha(picture), "PNG"),
        "alpha.webp": saved(with_alpha(picture), "WEBP"),
        "progressive.jpg": saved(picture, "JPEG", progressive=True),
    }
    return files | {f"turned-{number}.jpg": turned_by_exif(picture, number) for number in TURNS}


def bad_files(picture: Image.Image) -> dict[str, bytes]:
    files = {
        "empty.jpg": b"",
        "words.jpg": b"this was never a picture\n" * 99,
        "page.png": b"<!doctype html><html><body>404</body></html>",
        "vector.webp": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        "film.gif": b"\0\0\0\x20ftypisom\0\0\2\0isomiso2avc1mp41",
        "head-only.jpg": saved(picture, "JPEG")[:20],
        "bomb.png": saved(Image.new("1", (20_000, 20_000)), "PNG"),
        "bomb-announced.png": bomb_announced(60_000, 60_000),
    }
    kinds = {"jpg": "JPEG", "png": "PNG", "webp": "WEBP", "gif": "GIF", "tif": "TIFF", "bmp": "BMP", "avif": "AVIF"}
    for suffix, kind in kinds.items():
        data = saved(picture, kind)
        files[f"truncated.{suffix}"] = data[: len(data) // 3]
    return files


GOOD = sorted(good_files(drawn(3), drawn(4)))
BAD = {
    "empty.jpg": "the file is empty",
    "words.jpg": "not an image of a known format",
    "page.png": "not an image of a known format",
    "vector.webp": "not an image of a known format",
    "film.gif": "not an image of a known format",
    "head-only.jpg": "",
    "bomb.png": "the picture has",
    "bomb-announced.png": "the picture has more than",
    **{f"truncated.{suffix}": "" for suffix in ("jpg", "png", "webp", "gif", "tif", "bmp", "avif")},
}


@pytest.mark.parametrize("name", GOOD)
def test_an_odd_file_is_searched_like_any_other(searched: dict[str, str], name: str):
    assert searched[name] == "matched"


@pytest.mark.parametrize("name", sorted(BAD))
def test_a_bad_file_is_undecodable_and_says_why(searched: dict[str, str], name: str):
    outcome, _, why = searched[name].partition(": ")
    assert outcome == "undecodable"
    assert why.startswith(BAD[name])
    assert why


def test_of_a_moving_png_the_first_frame_counts():
    first, second = drawn(3), drawn(4)
    moving = decode(saved(first, "PNG", save_all=True, append_images=[second]))
    still = decode(saved(first, "PNG"))
    assert isinstance(moving, Picture)
    assert isinstance(still, Picture)
    np.testing.assert_array_equal(moving.grey, still.grey)


# --- mutations; `make fuzz` plays 100,000 ---------------------------------------------------------------------


def test_mutations_of_real_files_are_answered_without_a_fault_or_much_memory():
    played = play(list(corpus().values()), 7, 400, 2, Progress(disable=True))
    assert played.findings == []
    assert played.outcomes.total() == 400
    assert 0 < played.peak[0] < MEMORY_MAX_MB
    assert any(outcome.startswith("decoded") for outcome in played.outcomes)
    assert any(outcome.startswith("undecodable") for outcome in played.outcomes)


def test_a_crash_a_fault_and_a_hunger_are_found_by_their_number(monkeypatch):
    def examined(_data: bytes, number: int) -> str:
        if number == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        if number == 5:
            raise ValueError("no such luck")
        if number == 7:
            bytearray(b"x") * 200_000_000
        return "decoded"

    monkeypatch.setattr(module, "MEMORY_MAX_MB", 100)
    monkeypatch.setattr(module, "examine", examined)
    played = play([b"picture"], 1, 10, 1, Progress(disable=True))
    assert [finding.number for finding in played.findings] == [3, 5, 7]
    assert [finding.what.split()[0] for finding in played.findings] == ["the", "raised", "took"]
    assert played.outcomes["decoded"] == 5


def test_a_mutation_is_the_same_for_the_same_seed_and_number():
    files = [saved(drawn(3), "JPEG"), saved(drawn(4), "GIF")]
    assert mutated(files, 1, 5) == mutated(files, 1, 5)
    assert len({mutated(files, seed, number) for seed in (1, 2) for number in range(20)}) > 30


def test_a_file_that_is_read_is_what_was_promised():
    assert examine(saved(drawn(3), "PNG"), 1) == "decoded as PNG"
    assert examine(b"nothing", 1).startswith("undecodable: not an image")
    assert isinstance(decode(b"nothing"), Undecodable)


def test_every_kind_of_file_of_the_corpus_is_read():
    unread = {name: examine(data, 0) for name, data in corpus().items() if not examine(data, 0).startswith("decoded")}
    assert unread == {}
