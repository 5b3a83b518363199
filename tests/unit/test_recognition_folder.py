"""Searching a folder: one line per query whatever the files are, a picture per match, and clear words for bad input."""

import io
import json
import resource
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console
from typer.testing import CliRunner

from services.matching.cli import app
from services.matching.recognition import folder as module
from services.matching.recognition.explain import GAP_PX, STRIP_PX, Looked, explain, file_name
from services.matching.recognition.folder import FolderSearch, images_below, register_folder, search_folder
from services.matching.recognition.match import Match
from shared.fingerprints import decode
from tests.drawn import HEIGHT, WIDTH, drawn, encoded, posing

IDENTITY = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))


def saved(image: Image.Image, format_: str, **options) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format_, **options)
    return stream.getvalue()


def turned_by_exif(image: Image.Image) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return saved(image.transpose(Image.Transpose.ROTATE_90), "JPEG", exif=exif)


def bomb() -> bytes:
    return saved(Image.new("1", (20_000, 20_000)), "PNG")


@pytest.fixture
def folders(tmp_path) -> tuple[Path, Path]:
    """References of two twins and one that is refused; no queries yet."""
    references, queries = tmp_path / "references", tmp_path / "queries"
    (references / "anna").mkdir(parents=True)
    queries.mkdir()
    for seed in (1, 2):
        (references / "anna" / f"{seed}.jpg").write_bytes(encoded(posing(seed)))
    (references / "beside.jpg").write_bytes(encoded(drawn(3)))
    (references / "plain.png").write_bytes(saved(Image.new("RGB", (300, 300)), "PNG"))
    return references, queries


def rows_of(folders: tuple[Path, Path], out: Path, **options) -> dict[str, dict]:
    search_folder(*folders, out, **options)
    return {row["query"]: row for row in map(json.loads, out.read_text().splitlines())}


# --- the lines -----------------------------------------------------------------------------------------------


def test_each_query_gets_a_line_that_tells_what_it_shows(folders, tmp_path):
    _, queries = folders
    (queries / "inner").mkdir()
    (queries / "inner" / "crop.jpg").write_bytes(encoded(drawn(3).crop((50, 50, 600, 450))))
    (queries / "anna.jpg").write_bytes(encoded(posing(2)))
    (queries / "other.jpg").write_bytes(encoded(drawn(40)))
    rows = rows_of(folders, tmp_path / "out.jsonl")
    (match,) = rows["inner/crop.jpg"]["matches"]
    assert match["reference"] == "beside.jpg"
    assert 0.5 < match["score"] <= 1
    assert np.abs(np.subtract(match["region"], (0, 0, 550, 400))).max() < 4
    assert np.abs(np.subtract(match["transform"], ((1, 0, -50), (0, 1, -50), (0, 0, 1)))).max() < 4
    assert match["words"].startswith("cropped to 7")
    assert "anna/2.jpg" in [match["reference"] for match in rows["anna.jpg"]["matches"]]
    assert {name: row["outcome"] for name, row in rows.items()} == {
        "anna.jpg": "matched",
        "inner/crop.jpg": "matched",
        "other.jpg": "none",
    }
    assert not any("error" in row for row in rows.values())


def test_a_file_that_cannot_be_searched_says_why_and_stops_nothing(folders, tmp_path, capsys):
    _, queries = folders
    files = {
        "broken.jpg": b"broken",
        "empty.png": b"",
        "bomb.png": bomb(),
        "cut.jpg": encoded(drawn(3))[:4000],
        "wall.png": saved(Image.new("RGB", (400, 300), "ivory"), "PNG"),
        "without-suffix": encoded(drawn(3)),
        "photo.heic": b"\0\0\0\x18ftypheic",
    }
    for name, data in files.items():
        (queries / name).write_bytes(data)
    (queries / "huge.tif").touch()
    with (queries / "huge.tif").open("r+b") as stream:
        stream.truncate(30_000_000)
    outcomes = {name: row["outcome"] for name, row in rows_of(folders, tmp_path / "out.jsonl").items()}
    assert outcomes.pop("without-suffix") == "matched"
    assert outcomes.pop("wall.png") == "too_plain"
    assert outcomes["bomb.png"].startswith("undecodable: the picture has")
    assert outcomes["huge.tif"] == "undecodable: the file has 30000000 bytes, more than 26214400"
    assert outcomes["empty.png"] == "undecodable: the file is empty"
    assert outcomes["photo.heic"] == "undecodable: not an image of a known format"
    assert all(outcome.startswith("undecodable: ") for outcome in outcomes.values())
    assert "not registered: plain.png: too plain" in capsys.readouterr().err


def test_an_unexpected_failure_is_told_as_one_and_stops_nothing(folders, tmp_path, monkeypatch):
    _, queries = folders
    (queries / "a.jpg").write_bytes(encoded(drawn(3)))
    (queries / "b.jpg").write_bytes(encoded(drawn(40)))
    look = module.fingerprint_query

    def failing(picture):
        if picture.grey.mean() == decode(encoded(drawn(40))).grey.mean():
            raise RuntimeError("no such luck")
        return look(picture)

    monkeypatch.setattr(module, "fingerprint_query", failing)
    rows = rows_of(folders, tmp_path / "out.jsonl")
    assert rows["a.jpg"]["outcome"] == "matched"
    assert rows["b.jpg"]["outcome"] == "failed: RuntimeError: no such luck"
    assert rows["b.jpg"]["error"] == "RuntimeError: no such luck"
    assert rows["b.jpg"]["matches"] == []


def test_a_name_that_is_no_utf_8_gets_a_line_all_the_same(folders, tmp_path):
    _, queries = folders
    odd = queries / "caf\udce9.jpg"
    try:
        odd.write_bytes(encoded(drawn(3)))
    except OSError:
        pytest.skip("this file system takes UTF-8 alone")
    rows = rows_of(folders, tmp_path / "out.jsonl", pictures=a_folder(tmp_path / "pictures"))
    assert rows["caf\udce9.jpg"]["outcome"] == "matched"
    assert len(list((tmp_path / "pictures").iterdir())) == 1


def test_more_processes_give_the_same_lines(folders, tmp_path):
    _, queries = folders
    for number in range(9):
        (queries / f"{number}.jpg").write_bytes(encoded(drawn(number % 4).rotate(number)))
    answers = [rows_of(folders, tmp_path / f"{jobs}.jsonl", jobs=jobs) for jobs in (1, 2)]
    for row in (row for rows in answers for row in rows.values()):
        assert row.pop("cpu_ms") > 0
    assert answers[0] == answers[1]
    assert list(answers[0]) == sorted(answers[0])


def test_hidden_files_and_other_files_are_no_images(tmp_path):
    (tmp_path / ".cache").mkdir()
    for name in ("a.JPG", "b.webp", "notes.txt", ".DS_Store", "._a.jpg", ".cache/c.jpg", "truth.csv"):
        (tmp_path / name).touch()
    assert [path.name for path in images_below(tmp_path)] == ["a.JPG", "b.webp"]


# --- processor time ------------------------------------------------------------------------------------------


def spent_ms() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return (used.ru_utime + used.ru_stime) * 1000


def test_the_told_times_are_what_the_process_spends_on_queries(folders):
    references, queries = folders
    for number in range(30):
        data = encoded(drawn(number)) if number % 2 else saved(drawn(number), ("PNG", "WEBP", "AVIF")[number % 3])
        (queries / f"{number}.jpg").write_bytes(data)
    module.warm_up()
    search = FolderSearch(register_folder(references, Console(quiet=True)), references, queries)
    paths = images_below(queries)
    began = spent_ms()
    told = sum(search.answer(path).row["cpu_ms"] for path in paths)
    spent = spent_ms() - began
    assert abs(told - spent) <= 0.1 * spent


def test_the_summary_tells_both_times(folders, tmp_path):
    _, queries = folders
    for number in range(30):
        (queries / f"{number}.jpg").write_bytes(encoded(drawn(number)))
    summary = search_folder(*folders, tmp_path / "out.jsonl")
    assert summary.references == 3
    assert summary.outcomes.total() == 30
    assert summary.cpu_ms <= summary.phase_cpu_ms
    # The phase also draws the progress bar, which costs the more the longer a loaded machine takes.
    assert summary.cpu_ms >= 0.75 * summary.phase_cpu_ms


def test_every_thread_is_counted(folders):
    def work() -> None:
        while time.thread_time() < 0.06:
            pass

    class Threaded:
        def search(self, query, *, livemode):
            threads = [threading.Thread(target=work) for _ in range(2)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            return []

    references, queries = folders
    (queries / "a.jpg").write_bytes(encoded(drawn(3)))
    row = FolderSearch(Threaded(), references, queries).answer(queries / "a.jpg").row
    assert row["outcome"] == "none"
    assert row["cpu_ms"] >= 120


# --- pictures of matches -------------------------------------------------------------------------------------


def a_folder(path: Path) -> Path:
    path.mkdir()
    return path


def looked(data: bytes, name: str = "a.jpg") -> Looked:
    return Looked(name, data, decode(data))


def lime_box(panel: Image.Image) -> tuple[int, int, int, int]:
    """Where the outline is drawn: its bounding box."""
    red, green, blue = (np.asarray(channel).astype(int) for channel in panel.split())
    rows, columns = np.nonzero((green > 200) & (red < 60) & (blue < 60))
    return int(columns.min()), int(rows.min()), int(columns.max()), int(rows.max())


def test_the_visible_part_is_outlined_on_the_query_and_on_the_reference():
    grey = Image.new("RGB", (WIDTH, HEIGHT), "grey")
    crop = Match("ref", "twin", 0.9, (0, 0, 400, 300), ((1, 0, -100), (0, 1, -50), (0, 0, 1)), "cropped")
    sheet = explain(looked(encoded(grey.crop((0, 0, 400, 300)))), looked(encoded(grey)), crop)
    height = sheet.height - STRIP_PX
    left_px, right_px = round(400 * height / 300), round(WIDTH * height / HEIGHT)
    left = sheet.crop((0, STRIP_PX, left_px, sheet.height))
    right = sheet.crop((left_px + GAP_PX, STRIP_PX, left_px + GAP_PX + right_px, sheet.height))
    assert np.abs(np.subtract(lime_box(left), (0, 0, left_px, height))).max() < 6
    expected = np.array((100, 50, 500, 350)) * height / HEIGHT
    assert np.abs(np.subtract(lime_box(right), expected)).max() < 6


@pytest.mark.parametrize(
    "data",
    [
        encoded(drawn(3)),
        saved(drawn(3).convert("CMYK"), "JPEG"),
        saved(drawn(3).convert("P"), "PNG"),
        saved(drawn(3).convert("RGBA"), "WEBP"),
        saved(drawn(3).convert("P"), "GIF", transparency=3),
        turned_by_exif(drawn(3)),
    ],
    ids=["jpeg", "cmyk", "palette", "alpha", "gif", "exif"],
)
def test_a_match_is_shown_in_colour_and_upright(data):
    sheet = explain(looked(data), looked(encoded(drawn(3))), Match("r", "t", 0.9, (0, 0, 1, 1), IDENTITY, "unchanged"))
    width = round(WIDTH * (sheet.height - STRIP_PX) / HEIGHT)
    one, other = (
        np.asarray(sheet.crop((x + 9, STRIP_PX + 9, x + width - 9, sheet.height - 9)), float)
        for x in (0, width + GAP_PX)
    )
    assert np.ptp(one, axis=2).mean() > 20
    assert np.abs(one - other).mean() < 40


def test_what_has_no_colour_for_us_is_shown_in_grey():
    deep = Image.fromarray(np.asarray(drawn(3).convert("L")).astype(np.uint16) * 257)
    match = Match("r", "t", 0.9, (0, 0, 1, 1), IDENTITY, "unchanged")
    sheet = explain(looked(saved(deep, "PNG")), looked(encoded(drawn(3))), match)
    assert np.ptp(np.asarray(sheet.crop((9, STRIP_PX + 9, 500, sheet.height - 9)), float), axis=2).max() == 0


def test_a_map_that_folds_the_picture_is_drawn_all_the_same():
    folded = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (-0.004, 0.0, 1.0))
    side = looked(encoded(drawn(3)))
    assert explain(side, side, Match("r", "t", 0.9, (0, 0, 1, 1), folded, "odd")).width > 0


def test_a_panorama_fits_beside_a_tower():
    wide, high = looked(encoded(drawn(1, 1600, 60))), looked(encoded(drawn(2, 60, 1600)))
    sheet = explain(wide, high, Match("r", "t", 0.9, (0, 0, 1, 1), IDENTITY, "odd"))
    assert sheet.width <= 2200


def test_each_match_gets_a_picture_of_its_own_in_the_folder(folders, tmp_path):
    _, queries = folders
    (queries / "a b").mkdir()
    for name in ("a b/c.jpg", "a_b_c.jpg", "a-b.png"):
        (queries / name).write_bytes(encoded(drawn(3)))
    pictures = a_folder(tmp_path / "pictures")
    rows_of(folders, tmp_path / "out.jsonl", pictures=pictures)
    assert len(list(pictures.iterdir())) == 3
    assert all(decode(path.read_bytes()).format == "JPEG" for path in pictures.iterdir())


def test_names_of_pictures_stay_in_the_folder_and_never_collide():
    pairs = [("../../etc/passwd", "a"), (".hidden", "a"), ("a/b", "c"), ("a_b", "c"), ("a", "b--c"), ("a--b", "c")]
    pairs += [("x" * 300 + "1", "c"), ("y" * 300 + "1", "c"), ("caf\udce9", "c"), ("", "c")]
    made = [file_name(*pair) for pair in pairs]
    assert len(set(made)) == len(made)
    assert all(Path(name).name == name and not name.startswith(".") and len(name) < 200 for name in made)


def test_a_picture_that_cannot_be_drawn_stops_nothing(folders, tmp_path, capsys):
    _, queries = folders
    (queries / "a.jpg").write_bytes(encoded(drawn(3)))
    rows = rows_of(folders, tmp_path / "out.jsonl", pictures=tmp_path / "never made")
    assert rows["a.jpg"]["outcome"] == "matched"
    assert "not drawn: a.jpg with beside.jpg: FileNotFoundError" in capsys.readouterr().err


# --- the command ---------------------------------------------------------------------------------------------


def said(*options: object) -> tuple[int, str]:
    """The exit status and what is said, without the frame around an error."""
    result = CliRunner().invoke(app, ["search", *map(str, options)], env={"TERM": "dumb", "COLUMNS": "200"})
    return result.exit_code, " ".join(result.output.replace("│", " ").split())


def test_the_command_writes_lines_and_pictures_and_tells_the_outcomes(folders, tmp_path):
    references, queries = folders
    (queries / "a.jpg").write_bytes(encoded(drawn(3)))
    (queries / "b.jpg").write_bytes(b"broken")
    (queries / "notes.txt").write_text("nothing to see")
    out, pictures = tmp_path / "out.jsonl", tmp_path / "new" / "pictures"
    status, words = said("--references", references, "--queries", queries, "--out", out, "--explain", pictures)
    assert status == 0
    assert "3 references, 2 queries: 1 matched, 1 undecodable" in words
    assert "passed over: 1 files below" in words
    assert len(out.read_text().splitlines()) == 2
    assert len(list(pictures.iterdir())) == 1


def test_bad_arguments_name_the_option_and_the_remedy(folders, tmp_path):
    references, queries = folders
    none, out = tmp_path / "none", tmp_path / "out.jsonl"
    (tmp_path / "file").touch()

    def refused(*options: object) -> str:
        status, words = said(*options)
        assert status == 2
        return words

    words = refused("--references", none, "--queries", queries, "--out", out)
    assert "--references" in words
    assert "does not exist; name a folder of images" in words
    words = refused("--references", references, "--queries", queries, "--out", out)
    assert "--queries" in words
    assert "no images below" in words
    (queries / "a.jpg").write_bytes(encoded(drawn(3)))
    words = refused("--references", references, "--queries", queries, "--out", none / "out.jsonl")
    assert "--out" in words
    assert "make it first" in words
    assert "--out" in refused("--references", references, "--queries", queries, "--out", tmp_path)
    given = ("--references", references, "--queries", queries, "--out", out)
    words = refused(*given, "--explain", queries / "pictures")
    assert "--explain" in words
    assert "name a folder elsewhere" in words
    assert "cannot be made" in refused(*given, "--explain", tmp_path / "file")
    assert "--jobs" in refused(*given, "--jobs", 0)
    assert not out.exists()
