"""The references of one mode, as an unchanging snapshot: a large, a middle and a small segment, searched as one.

A new reference joins the small segment; a full segment joins the next larger one. Every change gives a new shelf, so
that a search goes on undisturbed with the one it began with.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from services.matching.recognition.buckets import SEGMENTS, Tables, build_tables
from services.matching.recognition.geometry import inverse, scaling
from shared.fingerprints import Fingerprint
from shared.fingerprints.compiled import Bits, Flags, Floats
from shared.fingerprints.features import Features

SMALL_MAX = 32
MIDDLE_MAX = 2_048
MIDDLE_PER_LARGE = 8


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

    @property
    def active(self) -> Flags:
        """Which points of the fingerprint may vote."""
        return np.ones(len(self.fingerprint.points), np.bool_) if self.dropped is None else ~self.dropped


def tie_of(reference_id: str) -> np.uint64:
    """An order among equals that depends on nothing but the id."""
    return np.uint64(int.from_bytes(hashlib.blake2b(reference_id.encode(), digest_size=8).digest(), "big"))


@dataclass(frozen=True, eq=False)
class Segment:
    """Some entries with their tables and hashes (m, 4); None where an entry was removed."""

    entries: tuple[Entry | None, ...]
    tables: Tables
    hashes: Bits

    @classmethod
    def of(cls, entries: Sequence[Entry]) -> Segment:
        """Build the tables."""
        prints = [entry.fingerprint for entry in entries]
        ties = np.array([tie_of(entry.reference_id) for entry in entries], np.uint64)
        tables = build_tables(
            [(one.points, one.descriptors) for one in prints], [entry.active for entry in entries], ties
        )
        hashes = np.array([one.whole for one in prints], np.uint64).reshape(-1, 4)
        return cls(tuple(entries), tables, hashes)

    @property
    def present(self) -> list[Entry]:
        """The entries that were not removed."""
        return [entry for entry in self.entries if entry is not None]

    def changed(self, changes: Mapping[int, Entry | None]) -> Segment:
        """The segment with other entries at some places; their points stay, what may vote changes."""
        entries, active = list(self.entries), self.tables.active.copy()
        for place, entry in changes.items():
            entries[place] = entry
            first, end = np.searchsorted(self.tables.owners, [place, place + 1])
            active[first:end] = False if entry is None else entry.active
        return replace(self, entries=tuple(entries), tables=self.tables._replace(active=active))


@dataclass(frozen=True, eq=False)
class Shelf:
    """Segments from large to small, and where each reference stands as (segment, place)."""

    segments: tuple[Segment, Segment, Segment]
    places: Mapping[str, tuple[int, int]]

    @classmethod
    def of(cls, entries: Sequence[Entry]) -> Shelf:
        """A shelf whose large segment holds all."""
        return cls._placed((Segment.of(entries), Segment.of([]), Segment.of([])))

    @classmethod
    def _placed(cls, segments: tuple[Segment, Segment, Segment]) -> Shelf:
        places = {
            entry.reference_id: (number, place)
            for number, segment in enumerate(segments)
            for place, entry in enumerate(segment.entries)
            if entry is not None
        }
        return cls(segments, places)

    def __len__(self) -> int:
        return len(self.places)

    @cached_property
    def tables(self) -> tuple[Tables, Tables, Tables]:
        """Tables of the segments."""
        large, middle, small = self.segments
        return large.tables, middle.tables, small.tables

    def entry(self, reference_id: str) -> Entry:
        """A reference by its id; raises KeyError."""
        segment, place = self.places[reference_id]
        entry = self.segments[segment].entries[place]
        if entry is None:
            raise KeyError(reference_id)
        return entry

    def owner(self, code: int) -> Entry | None:
        """A reference by the code that the tables give (place * SEGMENTS + segment)."""
        place, segment = divmod(code, SEGMENTS)
        return self.segments[segment].entries[place]

    def with_added(self, entries: Sequence[Entry]) -> Shelf:
        """The shelf with more references, in the smallest segment that has room."""
        large, middle, small = self.segments
        if len(small.present) + len(entries) <= SMALL_MAX:
            here = [*small.present, *entries]
            places = {**self.places, **{entry.reference_id: (2, place) for place, entry in enumerate(here)}}
            return Shelf((large, middle, Segment.of(here)), places)
        together = [*middle.present, *small.present, *entries]
        if len(together) <= max(MIDDLE_MAX, len(large.entries) // MIDDLE_PER_LARGE) and len(large.entries):
            return self._placed((large, Segment.of(together), Segment.of([])))
        return Shelf.of([*large.present, *together])

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
