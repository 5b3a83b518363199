"""A living index: references come, go and come again, and the answers depend on nothing else."""

import itertools
import threading

import pytest
from PIL import Image

from services.matching.recognition import ReferenceIndex, shelf, warm_up
from shared.fingerprints import Fingerprint, QueryFingerprint
from tests.drawn import answers, drawn, found, index_of, names, posing, query, reference, watermark


@pytest.fixture(scope="module")
def index() -> ReferenceIndex:
    warm_up()
    return index_of({f"ref-{seed}": drawn(seed) for seed in range(6)})


def test_the_answer_does_not_depend_on_the_order_of_registration(monkeypatch):
    monkeypatch.setattr(shelf, "SMALL_MAX", 2)  # so that references move between segments
    monkeypatch.setattr(shelf, "MIDDLE_MAX", 3)
    images = {"a": posing(1), "b": posing(2), "c": watermark(drawn(3)), "d": watermark(drawn(4)), "e": drawn(5)}
    prints = {name: reference(image) for name, image in images.items()}
    asked = [*(image.rotate(3) for image in images.values()), posing(41), watermark(drawn(42))]
    given = []
    for order in itertools.islice(itertools.permutations(images), 0, 120, 29):
        index = ReferenceIndex()
        for name in order:
            index.add(name, name, True, prints[name])
        index.add("passing", "passing", True, reference(posing(9)))
        index.remove("passing")
        given.append((answers(index, asked), [index.own_blocks(name) for name in images]))
    assert all(one == given[0] for one in given[1:])
    assert [names(matches) for matches in given[0][0]] == [["a"], ["b"], ["c"], ["d"], ["e"], [], []]


def test_an_index_built_from_bytes_gives_the_same_answers():
    one, other = ReferenceIndex(), ReferenceIndex()
    for seed in range(3):
        made = reference(posing(seed))
        one.add(f"{seed}", f"{seed}", True, made)
        other.add(f"{seed}", f"{seed}", True, Fingerprint.from_bytes(made.to_bytes()))
    asked = [query(posing(1).rotate(4)), query(drawn(0))]
    kept = [QueryFingerprint.from_bytes(each.to_bytes()) for each in asked]
    for before, after in zip(asked, kept, strict=True):
        assert one.search(before, livemode=True) == other.search(after, livemode=True)


def test_a_removed_reference_is_found_no_more_and_an_unknown_one_is_no_error():
    index = index_of({"one": drawn(1), "other": drawn(2)})
    index.remove("one")
    index.remove("never seen")
    assert len(index) == 1
    assert "one" not in index
    assert found(index, drawn(1)) == []
    assert found(index, drawn(2)) == ["other"]


def test_a_reference_added_again_replaces_the_earlier_one():
    index = index_of({"one": drawn(1)})
    index.add("one", "new twin", True, reference(drawn(2)))
    assert len(index) == 1
    assert found(index, drawn(1)) == []
    (match,) = index.search(query(drawn(2)), livemode=True)
    assert match.twin_id == "new twin"


def test_a_sandbox_reference_is_found_by_sandbox_queries_only():
    index = ReferenceIndex()
    index.add("live", "twin", True, reference(drawn(1)))
    index.add("sandbox", "twin", False, reference(drawn(1)))
    assert names(index.search(query(drawn(1)), livemode=True)) == ["live"]
    assert names(index.search(query(drawn(1)), livemode=False)) == ["sandbox"]


def test_the_same_picture_under_two_twins_is_found_as_both():
    index = index_of({"one": drawn(1), "other": drawn(1).resize((500, 375))})
    assert sorted(found(index, drawn(1))) == ["one", "other"]


def test_a_see_through_mark_all_over_a_stolen_picture_hides_neither_twin():
    veiled = Image.blend(drawn(1), drawn(900), 0.25)
    index = index_of({"theirs": drawn(1), "stolen": veiled})
    for seen in (drawn(1), veiled):
        assert sorted(found(index, seen)) == ["stolen", "theirs"]


def test_an_empty_index_answers_nothing():
    assert ReferenceIndex().search(query(drawn(1)), livemode=True) == []


def test_searches_go_on_while_references_come_and_go():
    index = index_of({"stays": drawn(1)})
    asked, prints = query(drawn(1)), [reference(drawn(seed)) for seed in (2, 3)]
    seen: list[list[str]] = []
    done = threading.Event()

    def search_on() -> None:
        while not done.is_set():
            seen.append(names(index.search(asked, livemode=True)))

    searcher = threading.Thread(target=search_on)
    searcher.start()
    for turn in range(200):
        if turn >= 10 and len(seen) > 3:
            break
        index.add(f"passing-{turn % 2}", "passing", True, prints[turn % 2])
        index.remove(f"passing-{(turn + 1) % 2}")
    done.set()
    searcher.join(20)
    assert not searcher.is_alive()
    assert len(seen) > 3
    assert all(names_seen == ["stays"] for names_seen in seen)
