"""The live index: references.v1 read whole by every worker, added and removed while searching goes on."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from concurrent.futures import Executor

from services.matching.addition_store import additions_above, announce, owned
from services.matching.additions import Addition, Knowledge
from services.matching.index_cache import IndexCache, reference_named
from services.matching.metrics import REFERENCES
from services.matching.recognition import ReferenceIndex
from services.matching.recognition.index import Registration
from shared.database import Database
from shared.events import ReferenceState, Unreadable, decoded_bytes, read_event
from shared.fingerprints import Fingerprint
from shared.kafka import Record
from shared.kafka.passing import PASSING_FAULTS
from shared.logs import get_log

log = get_log()

ADDITIONS_AT_ONCE = 5000
PAUSE_S = 1.0


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
        self._owned: Mapping[str, int] = {}
        # The topic holds a state of these that this process could not take in.
        self._missed: set[str] = set()
        self._changing = asyncio.Lock()
        self._whole = False

    async def begin(self) -> None:
        """Note what the schema holds; to be called before the topic is read.

        So `until_whole` can tell what the topic has lost from what another worker reads in the meantime.
        """
        self._owned = await owned(self._database)

    @property
    def whole(self) -> bool:
        """Whether the index has held all that the topic said."""
        return self._whole

    async def learn(self, records: Sequence[Record]) -> None:
        """Take in records of references.v1; when one cannot be read, Unreadable, and nothing of them is taken in.

        A tombstone says that a reference is gone: nothing is found by it any more.
        """
        async with self._changing:
            names = {reference_named(record) for record in records}
            self._missed |= {reference_named(record) for record in records if record.value is not None}
            await self._learn(self._unlike_saved(records))
            self._missed -= names
        REFERENCES.set(len(self._index))

    async def _learn(self, records: Sequence[Record]) -> None:
        newest: dict[str, ReferenceState] = {}
        gone: dict[str, int] = {}
        for record in records:
            name = reference_named(record)
            if record.value is None:
                known = newest.pop(name, None)
                gone[name] = max(known.revision if known else 0, self._knowledge.revision(name))
                continue
            state = _reference(record)
            known = newest.get(state.reference_id)
            if state.revision > max(known.revision if known else 0, self._knowledge.revision(state.reference_id)):
                newest[state.reference_id] = state
        if newest or gone:
            await self._take(list(newest.values()), gone)
        for name, record in {reference_named(record): record for record in records}.items():
            taken = newest.get(name)
            self._cache.built(record, taken.revision if taken is not None and taken.status == "active" else 0)

    async def until_whole(self, caught_up: Callable[[], Awaitable[object]]) -> None:
        """Return once the topic was read to its end and the index holds what it says, nothing else.

        Nothing that the topic has lost is an addition any more, and the additions are known: no image is searched
        before that.
        """
        await caught_up()
        while not self._whole:
            try:
                async with self._changing:
                    if not self._whole:
                        await self._settle()
                        self._owned, self._whole = {}, True
            except PASSING_FAULTS as error:
                log.warning("references_wait", error=f"{type(error).__name__}: {error}")
                await asyncio.sleep(PAUSE_S)

    async def _settle(self) -> None:
        gone: dict[str, int] = {}
        read_to = 0
        while additions := await additions_above(self._database, read_to, ADDITIONS_AT_ONCE):
            unknown = self._knowledge.lacked(additions, self._knowledge.now())
            gone |= {addition.reference_id: addition.revision for addition in unknown if self._is_gone(addition)}
            read_to = additions[-1].number
        if gone:
            async with self._database.transaction() as connection:
                await announce(connection, [], gone)
            self._knowledge.learnt(gone.items())
        if doubted := self._cache.take_doubted():
            await asyncio.get_running_loop().run_in_executor(self._executor, self._apply, [], doubted)
            REFERENCES.set(len(self._index))
        if gone or doubted:
            log.info("references_gone", withdrawn=len(gone), saved=len(doubted))

    def _is_gone(self, addition: Addition) -> bool:
        """Whether it was stored before this process began to read the topic, which says nothing of it."""
        name = addition.reference_id
        return name not in self._missed and self._owned.get(name, 0) >= addition.revision

    def _unlike_saved(self, records: Sequence[Record]) -> Sequence[Record]:
        """The records that a loaded index was not built from; what the schema does not know is none of those."""
        if not self._cache.loaded:
            return records
        others, same = [], []
        for record in records:
            owned_revision = self._owned.get(reference_named(record), 0)
            confirmed = self._cache.confirmed(record) if owned_revision else None
            if confirmed is None or confirmed[1] > owned_revision:
                others.append(record)
            else:
                same.append(confirmed)
        if same:
            self._knowledge.learnt(same)
        return others

    async def _take(self, states: Sequence[ReferenceState], gone: Mapping[str, int]) -> None:
        """Take in states, and what is gone, with the last revision that may be meant.

        Of a tombstone whose reference this process does not know it is 0: what the schema holds may be newer than the
        tombstone, read by a worker that is ahead. When it is not, `until_whole` ends it.
        """
        # The owners lie in the schema before the index can find a reference: a sighting always knows its agency.
        async with self._database.transaction() as connection:
            await announce(connection, states, gone)
        await asyncio.get_running_loop().run_in_executor(self._executor, self._apply, states, gone)
        withdrawn = [(name, revision) for name, revision in gone.items() if revision]
        self._knowledge.learnt([*withdrawn, *((state.reference_id, state.revision) for state in states)])

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
