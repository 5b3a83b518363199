"""The index of registered references: add, remove and search at any time, from any thread."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from services.matching.recognition import saved
from services.matching.recognition.blocks import View, own_texture
from services.matching.recognition.edges import compare_edges
from services.matching.recognition.lookalikes import with_lookalikes
from services.matching.recognition.match import Match
from services.matching.recognition.plans import Plan
from services.matching.recognition.search import Spent, candidates, search_shelf
from services.matching.recognition.seen import AROUND
from services.matching.recognition.sharing import Side, partners, shared
from services.matching.recognition.shelf import Batch, Entry, Shelf
from shared.fingerprints import Fingerprint, Picture, QueryFingerprint, TooPlain, fingerprint_reference
from shared.fingerprints.compiled import Grey
from shared.fingerprints.features import QUERY, REFERENCE, Features, distances_at, find_features

MOSTLY_SHARED_BELOW_BLOCKS = 10


@dataclass(frozen=True)
class Registration:
    """A reference to be added."""

    reference_id: str
    twin_id: str
    livemode: bool
    fingerprint: Fingerprint


@dataclass
class _Mode:
    """References of one mode: the snapshot that searches read, and what each shares with which others."""

    shelf: Shelf = field(default_factory=lambda: Shelf.of([]))
    shared: dict[str, dict[str, Side]] = field(default_factory=lambda: defaultdict(dict))


class ReferenceIndex:
    """Registered references of both modes; sandbox references are never found by a live query, nor the reverse.

    A search reads one snapshot and never waits. Changes take turns under a lock, and the snapshot is exchanged when the
    next one is complete. What references of different twins share is masked on both when the second is added, and
    unmasked when one is removed; the same references give the same answers in whatever order they came.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._modes = {True: _Mode(), False: _Mode()}

    def __len__(self) -> int:
        return sum(len(mode.shelf) for mode in self._modes.values())

    def __contains__(self, reference_id: str) -> bool:
        return any(reference_id in mode.shelf.places for mode in self._modes.values())

    def reference_ids(self) -> list[str]:
        """The references of both modes."""
        return [name for mode in self._modes.values() for name in mode.shelf.places]

    def add(self, reference_id: str, twin_id: str, livemode: bool, fingerprint: Fingerprint) -> None:
        """Add a reference, in place of an earlier one with the same id."""
        self.add_all([Registration(reference_id, twin_id, livemode, fingerprint)])

    def add_all(self, registrations: Iterable[Registration]) -> None:
        """Add many references at once: the same result as one by one, much sooner."""
        latest = {one.reference_id: one for one in registrations}
        with self._lock:
            for reference_id in latest:
                self._remove(reference_id)
            for livemode, mode in self._modes.items():
                here = [one for one in latest.values() if one.livemode == livemode]
                if here:
                    _add(mode, [Entry(one.reference_id, one.twin_id, one.fingerprint) for one in here])

    def remove(self, reference_id: str) -> None:
        """Forget a reference; nothing happens when it is unknown."""
        with self._lock:
            self._remove(reference_id)

    def _remove(self, reference_id: str) -> None:
        for mode in self._modes.values():
            if reference_id in mode.shelf.places:
                others = mode.shared.pop(reference_id, {})
                for other in others:
                    del mode.shared[other][reference_id]
                changes = {other: _masked(mode.shelf.entry(other), mode.shared[other].values()) for other in others}
                mode.shelf = mode.shelf.with_changed({reference_id: None, **changes})

    def search(
        self, query: QueryFingerprint, *, livemode: bool, spent: Spent = lambda _stage, _seconds: None
    ) -> list[Match]:
        """References of the mode that the query shows: by score, the best first, then by id.

        `spent` is told what each stage took of the processor.
        """
        return search_shelf(self._modes[livemode].shelf, query, spent)

    def save(self, path: Path, notes: Any) -> None:
        """Write all references, what they share and notes of the caller to a file, while everything goes on."""
        with self._lock:
            modes = {
                livemode: saved.Saved(mode.shelf, {one: dict(others) for one, others in mode.shared.items()})
                for livemode, mode in self._modes.items()
            }
        saved.write(path, modes, notes)

    def load(self, path: Path) -> Any:
        """Hold what was saved in place of what is held; returns the notes, or raises UnfitFileError."""
        modes, notes = saved.read(path)
        with self._lock:
            for livemode, mode in modes.items():
                shared = defaultdict(dict, {one: dict(others) for one, others in mode.shared.items()})
                self._modes[livemode] = _Mode(mode.shelf, shared)
        return notes

    def candidates(self, query: QueryFingerprint, *, livemode: bool) -> list[str]:
        """The references that a search looks at closely; for measuring how many true ones get that far."""
        return candidates(self._modes[livemode].shelf, query)

    def plan(self, *, livemode: bool) -> Plan:
        """How the points of the mode's references are kept; another shelf finds the same with the same plan only."""
        return self._modes[livemode].shelf.plan

    def hot_bytes(self, *, livemode: bool) -> int:
        """Bytes of the mode's tables, hashes and names, of which any search may touch any."""
        return self._modes[livemode].shelf.hot_bytes

    def cold_bytes(self, *, livemode: bool) -> int:
        """Bytes of the mode's whole fingerprints that are touched of candidates only."""
        return self._modes[livemode].shelf.cold_bytes

    def is_mostly_shared(self, reference_id: str) -> bool:
        """Whether so little of a reference is its own that it will hardly be recognised; raises KeyError."""
        return self.own_blocks(reference_id) < MOSTLY_SHARED_BELOW_BLOCKS

    def own_blocks(self, reference_id: str) -> int:
        """How many textured blocks of a reference are not shared with another twin; raises KeyError when unknown."""
        for mode in self._modes.values():
            if reference_id in mode.shelf.places:
                entry = mode.shelf.entry(reference_id)
                texture = own_texture(View(entry.fingerprint.thumbnail))
                return int((texture if entry.shared is None else texture & ~entry.shared).sum())
        raise KeyError(reference_id)


def holding(batch: Batch) -> ReferenceIndex:
    """An index of live references that are known to share nothing: nobody looks."""
    index = ReferenceIndex()
    index._modes[True] = _Mode(Shelf.holding(batch))
    return index


def _add(mode: _Mode, entries: list[Entry]) -> None:
    """Put references on the shelf, and mask what they and the earlier ones share."""
    shelf = mode.shelf.with_added(entries)
    touched = set()
    for entry in entries:
        for likeness in partners(entry, shelf):
            one, other = likeness.one.reference_id, likeness.other.reference_id
            if other in mode.shared.get(one, {}):
                continue
            sides = shared(likeness)
            if sides is not None:
                mode.shared[one][other], mode.shared[other][one] = sides
                touched |= {one, other}
    changes = {name: _masked(shelf.entry(name), mode.shared[name].values()) for name in sorted(touched)}
    mode.shelf = shelf.with_changed(changes) if changes else shelf


def _masked(entry: Entry, sides: Iterable[Side]) -> Entry:
    """An entry with the masks of all it shares."""
    sides = list(sides)
    blocks = np.logical_or.reduce([side.blocks for side in sides]) if sides else None
    if blocks is None or not blocks.any():
        return replace(entry, shared=None, dropped=None)
    plain = replace(entry, shared=with_lookalikes(entry.fingerprint, entry.unit, blocks), dropped=None)
    met = np.logical_or.reduce([side.points for side in sides])
    on_shared = plain.on_shared
    return plain if on_shared is None else replace(plain, dropped=met & on_shared)


def warm_up() -> None:
    """Compile everything that a search runs (seconds the first time, then read from the cache)."""
    chance = np.random.default_rng(0)
    noise: Grey = np.kron(chance.integers(0, 255, (48, 64)), np.ones((6, 6))).astype(np.uint8)
    find_features(noise, REFERENCE)
    features = find_features(noise, QUERY)
    made = fingerprint_reference(Picture(noise, noise.shape[1], noise.shape[0], "PNG"))
    if isinstance(made, TooPlain):
        return
    distances_at(noise, Features(made.points, made.descriptors), AROUND)
    _ = compare_edges(noise, noise, np.ones_like(noise[12::12, 12::12], np.bool_)).in_place
    index = ReferenceIndex()
    index.add("warm", "one", True, made)
    index.add("up", "other", True, made)
    index.search(QueryFingerprint(noise, (noise.shape[1], noise.shape[0]), features), livemode=True)
