"""References that are found by the hash of the whole picture."""

import numpy as np
import pytest
from PIL import Image, ImageOps

from services.matching.recognition.plans import EXACT
from services.matching.recognition.search import HASH_CANDIDATES_MAX, candidates
from services.matching.recognition.shelf import Entry, Segment, Shelf
from shared.fingerprints import QueryFingerprint
from shared.fingerprints.features import NONE
from tests.drawn import drawn, query, reference


def by_hash_alone(shelf: Shelf, shown: QueryFingerprint) -> list[str]:
    return candidates(shelf, QueryFingerprint(shown.grey, shown.original_px, NONE))


def test_a_reference_takes_one_place_although_several_frames_are_near() -> None:
    one = drawn(1)
    versions = [one, *(Image.blend(one, drawn(other), 0.3) for other in (2, 3, 4))]
    shelf = Shelf.of([Entry(f"ref-{n}", "twin", reference(version)) for n, version in enumerate(versions)], EXACT)
    bordered = query(ImageOps.expand(one, 8, "white"))
    found = by_hash_alone(shelf, bordered)
    assert len(found) == len(set(found)) > HASH_CANDIDATES_MAX


def test_another_picture_is_near_to_none() -> None:
    shelf = Shelf.of([Entry(f"ref-{seed}", "twin", reference(drawn(seed))) for seed in range(4)], EXACT)
    assert by_hash_alone(shelf, query(drawn(9))) == []
    turned = QueryFingerprint(np.ascontiguousarray(np.rot90(query(drawn(2)).grey)), (480, 640), NONE)
    assert candidates(shelf, turned) == ["ref-2"]


def test_of_many_references_that_are_near_only_those_with_a_place_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    one = reference(drawn(1))
    shelf = Shelf.of([Entry(f"ref-{n:02}", f"twin-{n}", one) for n in range(40)], EXACT)
    read: list[int] = []
    entry = Segment.entry
    monkeypatch.setattr(Segment, "entry", lambda self, place: read.append(place) or entry(self, place))
    assert by_hash_alone(shelf, query(drawn(1))) == [f"ref-{n:02}" for n in range(HASH_CANDIDATES_MAX)]
    assert len(read) == HASH_CANDIDATES_MAX
