"""A reference that comes after a post: what an index knew, and the quick no."""

import numpy as np
import pytest

from services.matching.additions import Addition, Knowledge, Moment
from services.matching.late import search_late
from services.matching.late_store import Job, StoredQuery
from services.matching.recognition import ReferenceIndex
from services.matching.recognition.search import may_show
from services.matching.recognition.shelf import Entry, Shelf
from shared.fingerprints import Fingerprint, QueryFingerprint, decode, fingerprint_query, fingerprint_reference
from shared.fingerprints.decode import Picture
from tests.system.pictures import cropped, draw, jpeg


def added(number: int, reference_id: str, revision: int = 1) -> Addition:
    return Addition(number, reference_id, revision, livemode=True)


def test_what_was_learnt_after_a_search_began_was_unknown_to_it() -> None:
    knowledge = Knowledge()
    knowledge.learnt([("early", 1)])
    began = knowledge.now()
    knowledge.learnt([("meanwhile", 1)])
    additions = [added(1, "early"), added(2, "meanwhile"), added(3, "never")]
    assert [each.reference_id for each in knowledge.lacked(additions, began)] == ["meanwhile", "never"]


def test_an_older_revision_of_a_reference_is_not_the_addition() -> None:
    knowledge = Knowledge()
    knowledge.learnt([("ref", 1)])
    assert knowledge.lacked([added(1, "ref", revision=2)], knowledge.now()) == [added(1, "ref", revision=2)]


def test_only_what_the_index_does_not_know_is_asked_for_again() -> None:
    """An addition that it never learns holds nothing up behind it."""
    knowledge = Knowledge()
    knowledge.learnt([("a", 1), ("c", 1)])
    before = knowledge.now()
    assert knowledge.lacked([added(1, "a"), added(2, "b"), added(3, "c")], before) == [added(2, "b")]
    assert before == Moment(1)
    between = knowledge.now()
    assert (between.known_to, between.gaps) == (3, ("b",))
    knowledge.learnt([("b", 1)])
    assert knowledge.now().gaps == ()
    assert knowledge.lacked([added(2, "b")], between) == [added(2, "b")]
    assert knowledge.lacked([], knowledge.now()) == []


def test_a_gap_ends_with_the_revision_that_was_lacking() -> None:
    knowledge = Knowledge()
    knowledge.lacked([added(2, "b", revision=3)], knowledge.now())
    knowledge.learnt([("b", 2)])
    assert knowledge.now().gaps == ("b",)
    knowledge.learnt([("b", 3)])
    assert knowledge.now().gaps == ()


def test_a_search_that_began_before_keeps_its_own_bound() -> None:
    """The bound moves on with the index, not with searches that are still under way."""
    knowledge = Knowledge()
    slow = knowledge.now()
    knowledge.learnt([("a", 1)])
    assert knowledge.lacked([added(1, "a")], knowledge.now()) == []
    assert slow == Moment()
    assert knowledge.lacked([added(1, "a")], slow) == [added(1, "a")]


def picture(data: bytes) -> Picture:
    found = decode(data)
    assert isinstance(found, Picture)
    return found


def reference(seed: int) -> Fingerprint:
    made = fingerprint_reference(picture(jpeg(draw(seed))))
    assert isinstance(made, Fingerprint)
    return made


@pytest.fixture(scope="module")
def queries() -> dict[int, QueryFingerprint]:
    """Cropped pictures by their seed."""
    return {seed: fingerprint_query(picture(jpeg(cropped(draw(seed)), quality=60))) for seed in range(6)}


def test_a_stored_query_gives_the_answer_of_the_first_search(queries: dict[int, QueryFingerprint]) -> None:
    index = ReferenceIndex()
    for seed in range(6):
        index.add(f"ref-{seed}", f"twin-{seed}", True, reference(seed))
    for seed, query in queries.items():
        again = QueryFingerprint.from_bytes(query.to_bytes())
        assert np.array_equal(again.grey, query.grey)
        first = index.search(query, livemode=True)
        assert [match.reference_id for match in first] == [f"ref-{seed}"]
        assert index.search(again, livemode=True) == first


def test_the_quick_no_never_denies_what_the_whole_index_finds(queries: dict[int, QueryFingerprint]) -> None:
    for seed in range(6):
        shelf = Shelf.of([Entry(f"ref-{seed}", "twin", reference(seed))])
        assert may_show(shelf, queries[seed])
    blank = fingerprint_query(Picture(np.full((300, 400), 200, np.uint8), 400, 300, "PNG"))
    assert not may_show(shelf, blank)
    assert not may_show(Shelf.of([]), queries[0])


def test_a_late_search_tells_of_its_own_references_only(queries: dict[int, QueryFingerprint]) -> None:
    index = ReferenceIndex()
    for name in ("known", "new"):
        index.add(name, "twin", True, reference(0))
    stored = StoredQuery(1, "sha256:0", queries[0].to_bytes())
    everything = {match.reference_id for match in index.search(queries[0], livemode=True)}
    for name in everything:
        [seen] = search_late(stored, None, index, Job("c", True, 0, 1, {name: 1}, {}))
        assert seen.reference_id == name
    assert not search_late(stored, None, index, Job("c", False, 0, 1, {"new": 1}, {}))
    index.remove("new")
    assert not search_late(stored, None, index, Job("c", True, 0, 1, {"new": 1}, {}))
