"""The live index: references.v1 read whole by every worker, added and removed while searching goes on."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import Executor

from services.matching.metrics import REFERENCES, REFERENCES_UNREADABLE
from services.matching.recognition import ReferenceIndex
from shared.database import Database
from shared.events import ReferenceState, Unreadable, decoded_bytes, read_event
from shared.fingerprints import Fingerprint
from shared.kafka import Record
from shared.logs import get_log

log = get_log()


class LiveReferences:
    """Feeds the index from references.v1; the highest revision of a reference wins."""

    def __init__(self, index: ReferenceIndex, database: Database, executor: Executor) -> None:
        self._index = index
        self._database = database
        self._executor = executor
        self._revisions: dict[str, int] = {}

    async def learn(self, records: Sequence[Record]) -> None:
        """Take in records of references.v1; one that cannot be read is counted and leaves what was known."""
        for record in records:
            try:
                state = _reference(record)
            except (Unreadable, ValueError) as error:
                REFERENCES_UNREADABLE.inc()
                log.error("reference_unreadable", key=str(record.key), error=str(error))
                continue
            if state.revision > self._revisions.get(state.reference_id, 0):
                await self._take(state)
                self._revisions[state.reference_id] = state.revision
        REFERENCES.set(len(self._index))

    async def _take(self, state: ReferenceState) -> None:
        # The owner lies in the schema before the index can find the reference: a sighting always knows its agency.
        async with self._database.transaction() as connection:
            await connection.execute(
                "insert into reference_owners (reference_id, twin_id, agency_id, revision) values (%s, %s, %s, %s)"
                " on conflict (reference_id) do update set agency_id = excluded.agency_id, revision = excluded.revision"
                " where reference_owners.revision < excluded.revision",
                (state.reference_id, state.twin_id, state.agency_id, state.revision),
            )
        await asyncio.get_running_loop().run_in_executor(self._executor, self._apply, state)

    def _apply(self, state: ReferenceState) -> None:
        if state.reference_id in self._revisions:
            self._index.remove(state.reference_id)
        if state.status == "active":
            fingerprint = Fingerprint.from_bytes(decoded_bytes(state.fingerprint))
            self._index.add(state.reference_id, state.twin_id, state.livemode, fingerprint)


def _reference(record: Record) -> ReferenceState:
    state = read_event(record.topic, record.key, record.value)
    if not isinstance(state, ReferenceState):
        raise Unreadable(f"type: {state.type} is no reference")
    if state.status == "active":
        Fingerprint.from_bytes(decoded_bytes(state.fingerprint))
    return state
