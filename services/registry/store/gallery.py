"""All references of all agencies, for the one question that goes over the wall: who else registered this picture?"""

from collections.abc import Sequence

from services.registry.domain import Reference
from services.registry.store.shelves import SHELVES, Shelf
from shared.database import Database, every
from shared.fingerprints.same import DISTANCE_MAX_BITS

# Enough for every twin that one picture was registered for; what lies farther is looked at no closer.
NEAR_MAX = 64


class Gallery:
    """Looks over the wall between tenants, so it takes the worker's database; what is told is the caller's care."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def near(self, reference: Reference, turns: Sequence[str]) -> list[Reference]:
        """Other active references of its mode whose bits are near one of these turns, nearest first."""
        shelf: Shelf[Reference] = SHELVES[Reference]
        # One pass over the rows: some 0.4 s of the database for 100,000 references, once per registration.
        query = f"""
            select near.* from ({shelf.select} where thing.status = 'active' and thing.livemode = %(livemode)s
                and thing.algorithm = %(algorithm)s and thing.reference_id <> %(reference_id)s) as near,
            lateral (select min(bit_count(near.whole_bits # turn)) as bits
                from unnest(%(turns)s::bit(256)[]) as turn) as distance
            where distance.bits <= %(most)s order by distance.bits, near.reference_id limit %(limit)s"""  # noqa: S608
        wanted = {
            "livemode": reference.livemode,
            "algorithm": reference.algorithm,
            "reference_id": reference.reference_id,
            "turns": list(turns),
            "most": DISTANCE_MAX_BITS,
            "limit": NEAR_MAX,
        }
        async with self._database.transaction() as connection:
            return [shelf.thing_of(row) for row in await every(connection, query, wanted)]
