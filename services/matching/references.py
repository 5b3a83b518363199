"""The live index: references.v1 read whole by every worker, added and removed while searching goes on."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from concurrent.futures import Executor

from services.matching.additions import Knowledge
from services.matching.index_cache import IndexCache
from services.matching.late_store import announce, owned
from services.matching.metrics import REFERENCES
from services.matching.recognition import ReferenceIndex
from services.matching.recognition.index import Registration
from shared.database import Database
from shared.events import ReferenceState, Unreadable, decoded_bytes, read_event
from shared.fingerprints import Fingerprint
from shared.kafka import Record
from shared.logs import get_log

log = get_log()


class LiveReferences:
    """Feeds the index from references.v1; the highest revision of a reference wins."""

    def __init__(
        self,
        index: ReferenceIndex,
        database: Database,
        executor: Executor,
        knowledge: Knowledge | None = None,
        cache: IndexCache | None = None,
    ) -> None:
        self._index = index
        self._database = database
        self._executor = executor
        self._knowledge = Knowledge() if knowledge is None else knowledge
        self._cache = IndexCache(index) if cache is None else cache
        self._owned: Mapping[str, int] | None = None
        self._settling = asyncio.Lock()

    async def learn(self, records: Sequence[Record]) -> None:
        """Take in records of references.v1; when one cannot be read, Unreadable, and nothing of them is taken in.

        A tombstone says that a reference is gone: nothing is found by it any more.
        """
        newest: dict[str, ReferenceState] = {}
        latest: dict[str, Record] = {}
        gone: set[str] = set()
        for record in await self._unlike_saved(records):
            latest[(record.key or b"").decode("utf-8", "replace")] = record
            if record.value is None:
                name = (record.key or b"").decode("utf-8", "replace")
                newest.pop(name, None)
                gone.add(name)
                continue
            state = _reference(record)
            known = newest[state.reference_id].revision if state.reference_id in newest else 0
            if state.revision > max(known, self._knowledge.revision(state.reference_id)):
                newest[state.reference_id] = state
        if newest or gone:
            await self._take(list(newest.values()), gone)
        for name, record in latest.items():
            taken = newest.get(name)
            self._cache.built(record, taken.revision if taken is not None and taken.status == "active" else 0)
        REFERENCES.set(len(self._index))

    async def until_whole(self, caught_up: Callable[[], Awaitable[object]]) -> None:
        """Return once the topic was read to its end and the index holds what it says, nothing else."""
        await caught_up()
        async with self._settling:
            doubted = self._cache.take_doubted()
            if doubted:
                log.info("saved_references_gone", references=len(doubted))
                await self._take([], doubted)
                REFERENCES.set(len(self._index))

    async def _unlike_saved(self, records: Sequence[Record]) -> Sequence[Record]:
        """The records that a loaded index was not built from; what the schema does not know is none of those."""
        if not self._cache.loaded:
            return records
        if self._owned is None:
            self._owned = await owned(self._database)
        others, same = [], []
        for record in records:
            owned_revision = self._owned.get((record.key or b"").decode("utf-8", "replace"), 0)
            confirmed = self._cache.confirmed(record) if owned_revision else None
            if confirmed is None or confirmed[1] > owned_revision:
                others.append(record)
            else:
                same.append(confirmed)
        if same:
            self._knowledge.learnt(same)
        return others

    async def _take(self, states: Sequence[ReferenceState], gone: Collection[str]) -> None:
        # The owners lie in the schema before the index can find a reference: a sighting always knows its agency.
        async with self._database.transaction() as connection:
            await announce(connection, states, {name: self._knowledge.revision(name) for name in gone})
        await asyncio.get_running_loop().run_in_executor(self._executor, self._apply, states, gone)
        self._knowledge.learnt([(state.reference_id, state.revision) for state in states])

    def _apply(self, states: Sequence[ReferenceState], gone: Collection[str]) -> None:
        for name in (*gone, *(state.reference_id for state in states if state.status != "active")):
            self._index.remove(name)
        self._index.add_all(
            Registration(
                state.reference_id,
                state.twin_id,
                state.livemode,
                Fingerprint.from_bytes(decoded_bytes(state.fingerprint)),
            )
            for state in states
            if state.status == "active"
        )


def _reference(record: Record) -> ReferenceState:
    state = read_event(record.topic, record.key, record.value)
    if not isinstance(state, ReferenceState):
        raise Unreadable(f"type: {state.type} is no reference")
    if state.status == "active":
        try:
            Fingerprint.from_bytes(decoded_bytes(state.fingerprint))
        except ValueError as error:
            raise Unreadable(f"fingerprint: {error}") from error
    return state
