"""The references of one mode, as an unchanging snapshot: a large, a middle and a small segment, searched as one.

A new reference joins the small segment; a full segment joins the next larger one. Every change gives a new shelf, so
that a search goes on undisturbed with the one it began with.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache

import numpy as np

from services.matching.recognition.buckets import SEGMENTS
from services.matching.recognition.geometry import inverse, scaling
from services.matching.recognition.plans import Plan, plan_for
from services.matching.recognition.prints import Prints
from services.matching.recognition.tables import Tables, build_tables, with_votes
from shared.fingerprints import Fingerprint
from shared.fingerprints.compiled import Bits, Flags, Floats, Places, compiled, hamming
from shared.fingerprints.features import Features

SMALL_MAX = 32
MIDDLE_MAX = 2_048
MIDDLE_PER_LARGE = 8
HASH_BYTES, NAME_BYTES = 32, 520  # a name: two strings, their object, a place in a dictionary
RECENT_MAX = 2_048  # references of a segment that are kept ready with their decoded thumbnails


@dataclass(frozen=True, eq=False)
class Entry:
    """A registered reference and what it shares with references of other twins.

    shared: blocks of the thumbnail (rows, columns) that prove nothing, or None; dropped: points (n) that other twins
    have at such a place, which no longer vote.
    """

    reference_id: str
    twin_id: str
    fingerprint: Fingerprint
    shared: Flags | None = None
    dropped: Flags | None = None

    @cached_property
    def features(self) -> Features:
        """The points that are still evidence."""
        whole = Features(self.fingerprint.points, self.fingerprint.descriptors)
        if self.dropped is None:
            return whole
        return Features(whole.points[~self.dropped], whole.descriptors[~self.dropped])

    @property
    def shared_share(self) -> float:
        """Share of the blocks that are shared."""
        return 0.0 if self.shared is None else float(self.shared.mean())

    @cached_property
    def on_shared(self) -> Flags | None:
        """Which of `features` lie on shared blocks."""
        if self.shared is None:
            return None
        place = self.features.points[:, :2] @ inverse(self.unit)[:2, :2].T
        block = np.clip((place // 12 - 0.5).astype(int), 0, np.array(self.shared.shape[::-1]) - 1)
        flags: Flags = self.shared[block[:, 1], block[:, 0]]
        return flags

    @cached_property
    def unit(self) -> Floats:
        """From thumbnail pixels to pixels of the decoded picture."""
        return scaling(self.fingerprint.thumbnail.shape[::-1], self.fingerprint.size_px)


def tie_of(reference_id: str) -> np.uint64:
    """An order among equals that depends on nothing but the id."""
    return np.uint64(int.from_bytes(hashlib.blake2b(reference_id.encode(), digest_size=8).digest(), "big"))


_Recent = Callable[[int], Entry]


@dataclass(frozen=True)
class Name:
    """Whose reference it is."""

    reference_id: str
    twin_id: str


@dataclass(frozen=True, eq=False)
class Mark:
    """What a reference shares, as in `Entry`."""

    shared: Flags
    dropped: Flags | None


@dataclass(frozen=True, eq=False)
class Batch:
    """References in a row: names, fingerprints, and by their place the marks of those that share something."""

    names: tuple[Name, ...]
    prints: Prints
    marks: Mapping[int, Mark] = field(default_factory=dict)

    @classmethod
    def of(cls, entries: Sequence[Entry]) -> Batch:
        """Put entries in a row."""
        names = tuple(Name(entry.reference_id, entry.twin_id) for entry in entries)
        marks = {place: mark for place, entry in enumerate(entries) if (mark := _mark_of(entry)) is not None}
        return cls(names, Prints.of([entry.fingerprint for entry in entries]), marks)

    @classmethod
    def joined(cls, batches: Sequence[Batch]) -> Batch:
        """Several, one after the other."""
        marks, before = dict[int, Mark](), 0
        for one in batches:
            marks |= {before + place: mark for place, mark in one.marks.items()}
            before += len(one.names)
        names = tuple(name for one in batches for name in one.names)
        return cls(names, Prints.joined([one.prints for one in batches]), marks)

    def __len__(self) -> int:
        return len(self.names)

    def only(self, kept: Places) -> Batch:
        """The references at some places, in ascending order."""
        if len(kept) == len(self):
            return self
        old = kept.tolist()
        marks = {new: self.marks[place] for new, place in enumerate(old) if place in self.marks}
        return Batch(tuple(self.names[place] for place in old), self.prints.only(kept), marks)

    def entry(self, place: int) -> Entry:
        """One reference as an object of its own."""
        name, mark = self.names[place], self.marks.get(place)
        shared, dropped = (None, None) if mark is None else (mark.shared, mark.dropped)
        return Entry(name.reference_id, name.twin_id, self.prints[place], shared, dropped)


def _mark_of(entry: Entry) -> Mark | None:
    return None if entry.shared is None else Mark(entry.shared, entry.dropped)


@dataclass(frozen=True, eq=False)
class Segment:
    """Some references with their tables; `present` is false where one was removed."""

    batch: Batch
    tables: Tables
    present: Flags

    @classmethod
    def of(cls, batch: Batch, plan: Plan) -> Segment:
        """Build the tables."""
        ties = np.array([tie_of(name.reference_id) for name in batch.names], np.uint64)
        dropped = {place: mark.dropped for place, mark in batch.marks.items() if mark.dropped is not None}
        return cls(batch, build_tables(batch.prints, dropped, ties, plan), np.ones(len(batch), np.bool_))

    @property
    def left(self) -> Batch:
        """The references that were not removed."""
        return self.batch.only(np.flatnonzero(self.present))

    def entry(self, place: int) -> Entry | None:
        """The reference at a place; None where one was removed."""
        return self._recent(place) if self.present[place] else None

    @cached_property
    def _recent(self) -> _Recent:
        return lru_cache(RECENT_MAX)(self.batch.entry)

    def near(self, hashes: Bits, distance_max: int) -> Places:
        """Rows of (distance, row of the hashes, place) of the references whose hash is near one of these (n, 4)."""
        return _near(hashes, self.batch.prints.wholes, self.present, distance_max)

    def changed(self, changes: Mapping[int, Entry | None]) -> Segment:
        """The segment with other marks at some places, or without a reference: what may vote changes."""
        present, marks, votes = self.present.copy(), dict(self.batch.marks), dict[int, Flags]()
        for place, entry in changes.items():
            first, end = self.batch.prints.starts[place : place + 2].tolist()
            marks.pop(place, None)
            present[place] = entry is not None
            votes[place] = np.full(end - first, entry is not None)
            if entry is not None and (mark := _mark_of(entry)) is not None:
                marks[place] = mark
                votes[place] = votes[place] if mark.dropped is None else ~mark.dropped
        return Segment(replace(self.batch, marks=marks), with_votes(self.tables, self.batch.prints, votes), present)


@compiled
def _near(hashes: Bits, wholes: Bits, present: Flags, distance_max: int) -> Places:
    found = np.empty((16, 3), np.int64)
    total = 0
    for place in range(len(wholes)):
        for row in range(len(hashes)):
            distance = hamming(hashes[row], wholes[place])
            if distance > distance_max or not present[place]:
                continue
            if total == len(found):
                wider = np.empty((2 * total, 3), np.int64)
                wider[:total] = found
                found = wider
            found[total, 0], found[total, 1], found[total, 2] = distance, row, place
            total += 1
    return found[:total]


@dataclass(frozen=True, eq=False)
class Shelf:
    """Segments from large to small, and where each reference stands as (segment, place)."""

    segments: tuple[Segment, Segment, Segment]
    places: Mapping[str, tuple[int, int]]

    @classmethod
    def of(cls, entries: Sequence[Entry], plan: Plan | None = None) -> Shelf:
        """A shelf whose large segment holds all, kept as the plan says or as fits their number."""
        return cls.holding(Batch.of(entries), plan)

    @classmethod
    def holding(cls, batch: Batch, plan: Plan | None = None) -> Shelf:
        """The same of references in a row."""
        plan, none = plan or plan_for(len(batch)), Batch.of([])
        return cls.placed((Segment.of(batch, plan), Segment.of(none, plan), Segment.of(none, plan)))

    @classmethod
    def placed(cls, segments: tuple[Segment, Segment, Segment]) -> Shelf:
        """A shelf of these segments."""
        places = {
            name.reference_id: (number, place)
            for number, segment in enumerate(segments)
            for place, (name, present) in enumerate(zip(segment.batch.names, segment.present.tolist(), strict=True))
            if present
        }
        return cls(segments, places)

    def __len__(self) -> int:
        return len(self.places)

    @property
    def plan(self) -> Plan:
        """How all segments keep their points."""
        return self.segments[0].tables.plan

    @cached_property
    def tables(self) -> tuple[Tables, Tables, Tables]:
        """Tables of the segments."""
        large, middle, small = self.segments
        return large.tables, middle.tables, small.tables

    @property
    def hot_bytes(self) -> int:
        """Tables, hashes and names; a name counts with its places in the dictionaries."""
        tables = sum(array.nbytes for one in self.tables for array in one if isinstance(array, np.ndarray))
        return tables + len(self) * (HASH_BYTES + NAME_BYTES)

    @property
    def cold_bytes(self) -> int:
        """Whole fingerprints, but for what the tables hold, too."""
        prints = [one.batch.prints for one in self.segments]
        descriptors = 0 if self.plan.whole else sum(one.descriptors.nbytes for one in prints)
        return descriptors + sum(one.sizes.nbytes + one.pictures.nbytes for one in prints)

    def entry(self, reference_id: str) -> Entry:
        """A reference by its id; raises KeyError."""
        segment, place = self.places[reference_id]
        entry = self.segments[segment].entry(place)
        if entry is None:
            raise KeyError(reference_id)
        return entry

    def owner(self, code: int) -> Entry | None:
        """A reference by the code that the tables give (place * SEGMENTS + segment)."""
        place, segment = divmod(code, SEGMENTS)
        return self.segments[segment].entry(place)

    def with_added(self, entries: Sequence[Entry]) -> Shelf:
        """The shelf with more references, in the smallest segment that has room."""
        large, middle, small = self.segments
        here = Batch.joined([small.left, Batch.of(entries)])
        if len(here) <= SMALL_MAX:
            places = {**self.places, **{name.reference_id: (2, place) for place, name in enumerate(here.names)}}
            return Shelf((large, middle, Segment.of(here, self.plan)), places)
        together = Batch.joined([middle.left, here])
        if len(together) <= max(MIDDLE_MAX, len(large.batch) // MIDDLE_PER_LARGE) and len(large.batch):
            return self.placed((large, Segment.of(together, self.plan), Segment.of(Batch.of([]), self.plan)))
        return Shelf.holding(Batch.joined([large.left, together]))

    def with_changed(self, changes: Mapping[str, Entry | None]) -> Shelf:
        """The shelf with other entries for some references, None to remove one."""
        segments = list(self.segments)
        for number in range(SEGMENTS):
            here = {self.places[name][1]: entry for name, entry in changes.items() if self.places[name][0] == number}
            if here:
                segments[number] = segments[number].changed(here)
        gone = {name for name, entry in changes.items() if entry is None}
        places = {name: place for name, place in self.places.items() if name not in gone} if gone else self.places
        return Shelf((segments[0], segments[1], segments[2]), places)
