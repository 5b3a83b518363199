"""The comparison with the peer: which files, what they show, what the rounds come to, and how searchers are asked."""

import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from infra.bench.matching.pictures import Amounts, filled, jobs_of, photographed, shown_by, source_of
from infra.bench.matching.report import Side, found_and_false, report_of, stages_ms
from infra.bench.matching.turns import EndedError, Searched, Seat
from infra.demo.pictures import to_jpeg

SHOWING, STRANGER = Path("q0000-s0007.jpg"), Path("q0001-none.jpg")


def searched(ms: float, *found: str, **stages: float) -> Searched:
    return Searched(ms, stages, list(found))


def test_one_query_in_ten_shows_a_registered_source_and_the_others_show_none():
    references, queries = jobs_of(Path("set"), Amounts(references=50, queries=100), 20, 7)
    assert len({job.path for job in references}) == 50
    assert {job.source for job in references} == set(range(20))
    showing = [job for job in queries if shown_by(job.path) is not None]
    assert len(showing) == 10
    assert all(shown_by(job.path) == f"s{job.source:04}" and job.source < 20 for job in showing)
    assert all(20 <= job.source < 27 for job in queries if job not in showing)
    assert len({(job.source, job.variant) for job in queries if job not in showing}) == 90


def test_names_tell_what_they_show():
    assert shown_by(SHOWING) == source_of("s0007-2") == "s0007"
    assert shown_by(STRANGER) is None


def test_every_picture_fills_1080_by_1350():
    for shape in ((300, 500, 3), (2000, 900, 3)):
        assert filled(np.zeros(shape, np.uint8)).shape == (1350, 1080, 3)


def test_of_few_photographs_parts_are_references_too(tmp_path: Path):
    photos = tmp_path / "photos"
    photos.mkdir()
    for number in range(6):
        picture = np.random.default_rng(number).integers(0, 255, (60, 80, 3), dtype=np.uint8)
        (photos / f"{number}.jpg").write_bytes(to_jpeg(picture))
    files = photographed(tmp_path / "set", photos, Amounts(references=9, queries=10), lambda _done, _total: None)
    assert len({path.read_bytes() for path in files.references}) == 9
    assert all(path.exists() for path in files.queries)
    assert "4 photographs in up to 3 parts each" in files.told
    with pytest.raises(ValueError, match="has 0 photographs"):
        photographed(tmp_path / "set", tmp_path, Amounts(), lambda _done, _total: None)


def test_found_is_a_reference_of_the_shown_source_and_everything_else_is_false():
    assert found_and_false({SHOWING: searched(1, "s0007-1"), STRANGER: searched(1)}) == (1.0, 0)
    assert found_and_false({SHOWING: searched(1, "s0008-0"), STRANGER: searched(1, "s0007-0", "s0001-0")}) == (0.0, 3)


def test_what_no_stage_counts_is_other():
    answers = [(SHOWING, searched(10, decode=4, search=2)), (STRANGER, searched(6, decode=4))]
    assert stages_ms(answers) == {"decode": 4.0, "search": 1.0, "other": 3.0}


def test_the_ratio_is_the_median_of_the_rounds():
    ours, peer = Side(5), Side(5)
    for mine, theirs in ((10, 40), (10, 50), (20, 40)):
        ours.rounds.append({SHOWING: searched(mine, "s0007-0"), STRANGER: searched(mine)})
        peer.rounds.append({SHOWING: searched(theirs), STRANGER: searched(theirs)})
    told = report_of(ours, peer, "drawn")
    assert (told["ratio"], told["ratios"]) == (4.0, [4.0, 5.0, 2.0])
    assert (told["recall"], told["peer_recall"], told["showing"], told["queries"]) == (1.0, 0.0, 1, 2)


SEARCHER = """
    from infra.bench.matching.turns import serve
    class Echo:
        def register(self, paths):
            print("words of a library")
            return len(paths)
        def search(self, path, stages):
            return stages.timed("look", lambda: [path.stem])
    serve(Echo())
"""


def test_a_searcher_is_a_process_whose_answers_nothing_else_disturbs(tmp_path: Path, monkeypatch):
    (tmp_path / "echo.py").write_text(textwrap.dedent(SEARCHER))
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{Path.cwd()}")
    seat = Seat("echo", Path(sys.executable), "echo")
    seat.begin(register=["a.jpg", "b.jpg"])
    assert seat.end() == 2
    (answer,) = seat.search([Path("a.jpg")])
    assert answer.found == ["a"]
    assert list(answer.stages) == ["look"]
    seat.close()


def test_a_searcher_that_ended_is_told_by_its_name(tmp_path: Path, monkeypatch):
    (tmp_path / "brief.py").write_text("")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    seat = Seat("brief", Path(sys.executable), "brief")
    with pytest.raises(EndedError, match="brief"):
        seat.search([Path("a.jpg")])
    seat.close()
