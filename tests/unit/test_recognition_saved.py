"""A saved index: the same answers after a restart, and never one from a file that does not fit."""

import os
import threading
import time

import numpy as np
import pytest
from structlog.testing import capture_logs

from services.matching.index_cache import IndexCache
from services.matching.recognition import ReferenceIndex, plans, saved, shelf, warm_up
from services.matching.recognition.saved import UnfitFileError
from tests.drawn import answers, drawn, found, index_of, names, posing, query, reference, watermark


@pytest.fixture(scope="module", autouse=True)
def _compiled():
    warm_up()


@pytest.fixture
def compact(monkeypatch):
    """As if there were very many references."""
    monkeypatch.setattr(shelf, "plan_for", lambda _: plans.COMPACT)


def an_index() -> ReferenceIndex:
    index = index_of(
        {"a": posing(1), "b": posing(2), "c": watermark(drawn(3)), "d": watermark(drawn(4)), "e": drawn(5)}
    )
    index.add("sandbox", "twin", False, reference(drawn(6)))
    index.remove("e")
    return index


ASKED = [posing(1).rotate(3), watermark(drawn(3)), posing(41), drawn(5), drawn(6)]


def saved_and_loaded(index: ReferenceIndex, path) -> ReferenceIndex:
    index.save(path, {"what": "ever"})
    loaded = ReferenceIndex()
    assert loaded.load(path) == {"what": "ever"}
    return loaded


def check_same_after_loading(path):
    index = an_index()
    loaded = saved_and_loaded(index, path)
    assert len(loaded) == len(index) == 5
    assert answers(loaded, ASKED) == answers(index, ASKED)
    assert [loaded.own_blocks(name) for name in "abcd"] == [index.own_blocks(name) for name in "abcd"]
    assert names(loaded.search(query(drawn(6)), livemode=False)) == ["sandbox"]


def test_a_loaded_index_gives_the_same_answers(tmp_path):
    check_same_after_loading(tmp_path / "index")


def test_a_loaded_compact_index_gives_the_same_answers(tmp_path, compact):
    check_same_after_loading(tmp_path / "index")


def test_a_compact_index_finds_copies_and_nothing_else(compact):
    index = index_of({f"ref-{seed}": drawn(seed) for seed in range(6)})
    assert found(index, drawn(3).rotate(8)) == ["ref-3"]
    assert found(index, drawn(4).crop((200, 130, 560, 400))) == ["ref-4"]
    assert found(index, drawn(30)) == []


@pytest.mark.parametrize("plan", [plans.EXACT, plans.COMPACT])
def test_a_loaded_index_is_added_to_and_removed_from_as_before(tmp_path, monkeypatch, plan):
    monkeypatch.setattr(shelf, "plan_for", lambda _: plan)
    index = saved_and_loaded(an_index(), tmp_path / "index")
    alone = index_of({"b": posing(2)}).own_blocks("b")
    index.add("new", "new", True, reference(drawn(8)))
    index.remove("a")
    assert index.own_blocks("b") == alone
    assert found(index, drawn(8)) == ["new"]
    assert "a" not in found(index, posing(1))


@pytest.mark.parametrize("place", [0, 10, 60, 0.3, 0.6, 0.99])
def test_a_damaged_file_is_refused(tmp_path, place):
    path = tmp_path / "index"
    an_index().save(path, None)
    data = bytearray(path.read_bytes())
    at = place if isinstance(place, int) else int(place * len(data))
    # Between the arrays lie a few unused bytes: a run of them is damaged.
    data[at : at + 80] = bytes(255 - value for value in data[at : at + 80])
    path.write_bytes(data)
    with pytest.raises(UnfitFileError):
        ReferenceIndex().load(path)


@pytest.mark.parametrize("share", [0, 0.0001, 0.5, 0.97])
def test_a_file_that_is_cut_short_is_refused(tmp_path, share):
    path = tmp_path / "index"
    an_index().save(path, None)
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(UnfitFileError):
        ReferenceIndex().load(path)


def test_a_file_of_other_code_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "index"
    an_index().save(path, None)
    monkeypatch.setattr(saved, "made_by", lambda: "other code")
    with pytest.raises(UnfitFileError, match="other code"):
        ReferenceIndex().load(path)


def test_a_first_start_without_a_file_is_told_without_a_warning(tmp_path):
    index = ReferenceIndex()
    cache = IndexCache(index, str(tmp_path / "new"))
    with capture_logs() as logs:
        cache.load()
    assert {line["log_level"] for line in logs} == {"info"}
    assert "no_saved_index" in {line["event"] for line in logs}
    assert (len(index), cache.loaded) == (0, False)


def test_a_save_that_fails_leaves_the_old_file_and_nothing_besides(tmp_path, monkeypatch):
    path, index = tmp_path / "index", index_of({"one": drawn(1)})
    index.save(path, None)
    before = path.read_bytes()
    monkeypatch.setattr(saved.os, "fsync", lambda _: (_ for _ in ()).throw(OSError("the disk is full")))
    with pytest.raises(OSError, match="full"):
        index.save(path, None)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_writers_with_the_same_pid_do_not_disturb_each_other(tmp_path, monkeypatch):
    """As in two containers that share the folder: the second writes its whole file while the first is half way."""
    path, first, second = tmp_path / "index", index_of({"one": drawn(1)}), index_of({"two": drawn(2)})
    wait, sync = threading.Event(), saved.os.fsync
    half_way = threading.Event()

    def held_up(number: int) -> None:
        if threading.current_thread().name == "first" and not half_way.is_set():
            half_way.set()
            wait.wait(20)
        sync(number)

    monkeypatch.setattr(saved.os, "fsync", held_up)
    writer = threading.Thread(target=first.save, args=(path, "first"), name="first")
    writer.start()
    assert half_way.wait(20)
    second.save(path, "second")
    assert ReferenceIndex().load(path) == "second"
    wait.set()
    writer.join(20)
    assert ReferenceIndex().load(path) == "first"
    assert list(tmp_path.iterdir()) == [path]


def test_parts_of_crashed_writers_are_removed_and_young_ones_left(tmp_path):
    path, index = tmp_path / "index", index_of({"one": drawn(1)})
    crashed, at_work, other = (tmp_path / name for name in ("index.7.part", "index.abc.part", "else.7.part"))
    for part in (crashed, at_work, other):
        part.write_bytes(b"half")
    for part in (crashed, other):
        os.utime(part, (time.time() - saved.STALE_S - 60,) * 2)
    index.save(path, None)
    assert sorted(tmp_path.iterdir()) == sorted([path, at_work, other])
    assert path.stat().st_mode & 0o777 == saved.READABLE


def test_searches_go_on_while_a_compact_index_is_added_to_saved_and_loaded(tmp_path, compact):
    index, asked = index_of({"stays": drawn(1)}), query(drawn(1))
    added, path = reference(drawn(2)), tmp_path / "index"
    seen: list[list[str]] = []
    done = threading.Event()

    def search_on() -> None:
        while not done.is_set():
            seen.append(names(index.search(asked, livemode=True)))

    searcher = threading.Thread(target=search_on)
    searcher.start()
    for turn in range(500):
        if turn >= 10 and len(seen) > 3:
            break
        index.add("passing", "passing", True, added)
        index.save(path, None)
        index.remove("passing")
        index.load(path)
        index.remove("passing")
    done.set()
    searcher.join(20)
    assert len(seen) > 3
    assert all(one == ["stays"] for one in seen)


def test_fingerprints_in_a_row_are_as_they_were():
    made = [reference(drawn(seed)) for seed in range(3)]
    prints = shelf.Prints.of(made)
    kept = shelf.Prints.joined([prints.only(np.array([0, 2])), prints.only(np.array([1]))])
    assert [kept[place].to_bytes() for place in range(3)] == [made[place].to_bytes() for place in (0, 2, 1)]
