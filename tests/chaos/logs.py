"""What the workers' logs tell while they run: which batch is in hand, and what was handled more than once."""

import json
import threading
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

STAGES = {"matching": "posts.v1", "judging": "sightings.v1", "alerts": "infringements.v1", "royalty": "usage.v1"}
POLL_S = 0.03

Place = tuple[str, int]


@dataclass
class _File:
    path: Path
    inode: int = 0
    at: int = 0


@dataclass
class LogWatch:
    """Follows the log of every worker. A record is handled twice when it was in two batches that a worker took."""

    logs: Path
    taken: Counter[Place] = field(default_factory=Counter)
    in_hand: dict[str, float] = field(default_factory=dict)
    lines: Counter[str] = field(default_factory=Counter)
    relays: dict[str, str] = field(default_factory=dict)
    batches: dict[str, list[int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._files: dict[str, _File] = {}
        # Which process took a record last, and in which of its lives.
        self._takers: dict[Place, tuple[str, int]] = {}
        self._lives: Counter[str] = Counter()
        self._after_kills: set[Place] = set()
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="log-watch", daemon=True)

    def start(self, processes: tuple[str, ...]) -> None:
        self._files = {name: _File(self.logs / f"{name}.log") for name in processes}
        self._thread.start()

    def stop(self) -> None:
        self._over.set()
        self._thread.join()
        self._read_all()

    def handled_twice(self) -> dict[str, int]:
        """By stage: how many records were taken in hand more than once."""
        with self._lock:
            return _by_stage([place for place, times in self.taken.items() if times > 1])

    def handled_twice_by_kills(self) -> dict[str, int]:
        """By stage: how many records were taken again after the process that had taken them was killed."""
        with self._lock:
            return _by_stage(self._after_kills)

    def holder(self, stage: str, *, since: float, within_s: float) -> str | None:
        """A process of this stage that took a batch after `since` and has not stored it; None when none does."""
        until = time.monotonic() + within_s
        while time.monotonic() < until:
            with self._lock:
                for name, taken_at in self.in_hand.items():
                    if name.removesuffix("-2") == stage and taken_at > since:
                        return name
            time.sleep(POLL_S)
        return None

    def gone(self, process: str) -> None:
        """The process was killed: what it had in hand is in nobody's."""
        with self._lock:
            self.in_hand.pop(process, None)
            self._lives[process] += 1

    def _take(self, process: str, places: list[Place]) -> None:
        self.taken.update(places)
        for place in places:
            before, life = self._takers.get(place, (process, self._lives[process]))
            if self._lives[before] != life:
                self._after_kills.add(place)
            self._takers[place] = (process, self._lives[process])

    def _run(self) -> None:
        while not self._over.wait(POLL_S):
            self._read_all()

    def _read_all(self) -> None:
        for name, file in self._files.items():
            for line in self._new_lines(file):
                self._learn(name, line)

    def _new_lines(self, file: _File) -> list[bytes]:
        if not file.path.exists():
            return []
        with file.path.open("rb") as opened:
            inode = file.path.stat().st_ino
            if inode != file.inode:
                file.inode, file.at = inode, 0
            opened.seek(file.at)
            text = opened.read()
        # A line that is not written to its end is read the next time.
        whole = text.rpartition(b"\n")[0]
        file.at += len(whole) + 1 if whole else 0
        return whole.split(b"\n") if whole else []

    def _learn(self, process: str, line: bytes) -> None:
        try:
            told: dict[str, Any] = json.loads(line)
        except ValueError:
            return
        event = told.get("event")
        with self._lock:
            if told.get("level") in ("warning", "error", "critical"):
                self.lines[f"{process.removesuffix('-2')}: {event}"] += 1
            if event == "relay_holds_lock":
                self.relays[process.removesuffix("-2")] = process
            # Lookup data is worked in batches too, and may be read any number of times.
            places = [place for place in _places(told) if place[0].partition("/")[0] in STAGES.values()]
            if event == "batch_taken" and places:
                self.in_hand[process] = time.monotonic()
                self._take(process, places)
                self.batches.setdefault(process, []).append(len(places))
            elif event == "batch_stored" and places:
                self.in_hand.pop(process, None)


def _by_stage(places: Iterable[Place]) -> dict[str, int]:
    topics = Counter(place.partition("/")[0] for place, _ in places)
    return {stage: topics[topic] for stage, topic in STAGES.items()}


def _places(told: dict[str, Any]) -> list[Place]:
    return [(place, at) for place, several in told.get("offsets", {}).items() for at in several]
