"""The index between two runs: a file that spares the work, never the reading, of references.v1.

Each record of the topic is held against the digest of the one that the saved index was built from. What is the same
is not built again, what differs is, and what the topic does not hold any more is removed once it was read to its end.
"""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from pathlib import Path

from services.matching.recognition import ReferenceIndex
from services.matching.recognition.saved import UnfitFileError
from shared.kafka import Record
from shared.logs import get_log

log = get_log()

FILE = "references.index"
SAVE_EVERY_S = 600.0


class IndexCache:
    """What the index was built from, and the file that holds both; without a folder it does nothing."""

    def __init__(self, index: ReferenceIndex, folder: str = "") -> None:
        self._index = index
        self._path = Path(folder) / FILE if folder else None
        self._built_from: dict[str, tuple[int, str]] = {}
        self._doubted: set[str] = set()
        self._changed = False

    def load(self) -> None:
        """Fill the index from the file when it fits; a file that does not is left aside and replaced later."""
        if self._path is None:
            return
        try:
            notes = self._index.load(self._path)
        except UnfitFileError as problem:
            log.warning("saved_index_left_aside", path=str(self._path), why=str(problem))
            return
        self._built_from = {name: (revision, digest) for name, (revision, digest) in notes.items()}
        self._doubted = set(self._index.reference_ids())
        log.info("saved_index_loaded", path=str(self._path), references=len(self._index))

    @property
    def loaded(self) -> bool:
        """Whether the index holds references that the topic has not confirmed."""
        return bool(self._doubted)

    def confirmed(self, record: Record) -> tuple[str, int] | None:
        """Id and revision of the reference when the index was built from this very record."""
        name = reference_named(record)
        revision, digest = self._built_from.get(name, (0, ""))
        if name not in self._doubted or record.value is None or digest != _digest(record.value):
            return None
        self._doubted.discard(name)
        return name, revision

    def built(self, record: Record, revision: int) -> None:
        """The index holds what this record says, or nothing of its reference when the revision is 0."""
        name, self._changed = reference_named(record), True
        self._doubted.discard(name)
        if revision and record.value is not None:
            self._built_from[name] = (revision, _digest(record.value))
        else:
            self._built_from.pop(name, None)

    def take_doubted(self) -> set[str]:
        """References that were loaded and are in no record of the topic, which was read to its end."""
        doubted, self._doubted = self._doubted, set()
        for name in doubted:
            self._built_from.pop(name, None)
        self._changed = self._changed or bool(doubted)
        return doubted

    def save(self) -> None:
        """Write the file when anything changed."""
        if self._path is None or not self._changed:
            return
        # Copied before the index is: what is learnt in between is newer there, and will be learnt again.
        notes, self._changed = dict(self._built_from), False
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._index.save(self._path, notes)
        except OSError as problem:
            self._changed = True
            log.warning("index_not_saved", path=str(self._path), error=str(problem))

    async def run(self, index_whole: Callable[[], Awaitable[object]]) -> None:
        """Save when the index is whole, and then as often as it makes sense, until cancelled."""
        await index_whole()
        while True:
            await asyncio.to_thread(self.save)
            await asyncio.sleep(SAVE_EVERY_S)


def reference_named(record: Record) -> str:
    """The reference that a record of references.v1 tells of, by its message key."""
    return (record.key or b"").decode("utf-8", "replace")


def _digest(value: bytes) -> str:
    # Short: it only tells one record from another.
    return hashlib.blake2b(value, digest_size=16).hexdigest()
