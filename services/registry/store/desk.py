"""One request's transaction: find, list, add, change; each change puts its event into the outbox."""

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from psycopg.types.json import Jsonb

from services.registry.domain import Kept, Published
from services.registry.licensing import Consent, License
from services.registry.store.shelves import SHELVES, Shelf
from shared.access import Caller
from shared.database import Connection, Database, every, one
from shared.events import LicenseVersion, SocialAccount
from shared.outbox import ensure_state

Thing = TypeVar("Thing", bound=Kept)


class Desk:
    """What a caller can see and change, inside one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.has_told = False

    async def find(self, kind: type[Thing], thing_id: str, *, to_change: bool = False) -> Thing | None:
        """A thing by its id, or None when the caller has none; to change it, its row is locked."""
        shelf: Shelf[Thing] = SHELVES[kind]
        lock = " for update of thing" if to_change else ""
        row = await one(self._connection, f"{shelf.select} where thing.{shelf.key} = %s{lock}", (thing_id,))
        return shelf.thing_of(row) if row else None

    async def page(
        self, kind: type[Thing], *, after: str | None, limit: int, wanted: dict[str, str | None]
    ) -> list[Thing] | None:
        """Things in the order they were made, after the one with this id; None when there is no such thing.

        `wanted` maps a column to the value it must have; None: any.
        """
        shelf: Shelf[Thing] = SHELVES[kind]
        if after is not None and await self.find(kind, after) is None:
            return None
        conditions = [f"thing.{name} = %({name})s" for name in shelf.filters if wanted.get(name) is not None]
        if after is not None:
            conditions.append(
                f"(thing.created_at, thing.{shelf.key}) >"  # noqa: S608 - constants of our shelves
                f" (select created_at, {shelf.key} from {shelf.table} where {shelf.key} = %(after)s)"
            )
        where = f" where {' and '.join(conditions)}" if conditions else ""
        query = f"{shelf.select}{where} order by thing.created_at, thing.{shelf.key} limit %(limit)s"
        rows = await every(self._connection, query, {**wanted, "after": after, "limit": limit})
        return [shelf.thing_of(row) for row in rows]

    async def add(self, thing: Kept, request_digest: str) -> bool:
        """Keep a new thing and tell of it; False when its id, or something unique about it, is known already."""
        shelf = SHELVES[type(thing)]
        row = {**shelf.row_of(thing), "request_digest": request_digest}
        if await one(self._connection, shelf.insert, row) is None:
            return False
        if isinstance(thing, License):
            await self._insert_version(thing, thing.license_id, request_digest)
        await self._write_part(shelf, thing)
        await self._tell(thing)
        return True

    async def request_of(self, kind: type[Kept], thing_id: str) -> str | None:
        """The digest of the request that made a thing, or None when the caller has no such thing."""
        shelf = SHELVES[kind]
        query = f"select request_digest from {shelf.table} where {shelf.key} = %s"  # noqa: S608
        row = await one(self._connection, query, (thing_id,))
        return row["request_digest"] if row else None

    async def replace(self, thing: Kept) -> None:
        """Write a changed thing and tell of it."""
        shelf = SHELVES[type(thing)]
        await self._connection.execute(shelf.update, shelf.row_of(thing))
        await self._write_part(shelf, thing)
        await self._tell(thing)

    async def append_version(self, license: License, made_by: str, request_digest: str) -> None:
        """Write the last version of a license; `made_by` is the id of the request."""
        await self._insert_version(license, made_by, request_digest)
        await self.replace(license)

    async def request_of_version(self, license_id: str, made_by: str) -> str | None:
        """The digest of the request that made a version, or None when this request has made none."""
        row = await one(
            self._connection,
            "select request_digest from license_versions where license_id = %s and made_by = %s",
            (license_id, made_by),
        )
        return row["request_digest"] if row else None

    async def holder_of(
        self, accounts: Iterable[SocialAccount], *, other_than: str
    ) -> tuple[SocialAccount, str] | None:
        """The first of these accounts that another brand holds, with that brand's id."""
        for account in accounts:
            row = await one(
                self._connection,
                "select brand_id from brand_accounts where platform = %s and account = %s and brand_id <> %s",
                (account.platform, account.account, other_than),
            )
            if row:
                return account, row["brand_id"]
        return None

    async def consent_in_force(self, twin_id: str) -> Consent | None:
        """The consent of a twin that nobody has withdrawn."""
        shelf: Shelf[Consent] = SHELVES[Consent]
        query = f"{shelf.select} where thing.twin_id = %s and thing.withdrawn_at is null"
        row = await one(self._connection, query, (twin_id,))
        return shelf.thing_of(row) if row else None

    async def _insert_version(self, license: License, made_by: str, request_digest: str) -> None:
        last = license.versions[-1]
        await self._connection.execute(
            "insert into license_versions (license_id, version, effective_from, scope, rate_card, split, made_by,"
            " request_digest, created_at) values (%s, %s, %s, %s, %s, %s, %s, %s, %s)",
            (
                license.license_id,
                last.version,
                last.effective_from,
                *_terms(last),
                made_by,
                request_digest,
                license.changed_at,
            ),
        )

    async def _write_part(self, shelf: Shelf[Any], thing: Kept) -> None:
        if shelf.write_part is not None:
            await shelf.write_part(self._connection, thing)

    async def _tell(self, thing: Kept) -> None:
        if isinstance(thing, Published):
            await ensure_state(self._connection, thing.state)
            self.has_told = True


class Store:
    """Opens desks."""

    def __init__(self, database: Database, *, committed: Callable[[], None] = lambda: None) -> None:
        self._database = database
        self._committed = committed

    @asynccontextmanager
    async def desk(self, caller: Caller) -> AsyncIterator[Desk]:
        """The rows of this caller in this caller's mode, in one transaction."""
        async with self._database.transaction(caller) as connection:
            mode = "true" if caller.livemode else "false"
            await connection.execute("select set_config('twintally.livemode', %s, true)", (mode,))
            desk = Desk(connection)
            yield desk
        if desk.has_told:
            self._committed()


def _terms(version: LicenseVersion) -> tuple[Jsonb, Jsonb, Jsonb]:
    scope, card, split = (each.model_dump(mode="json") for each in (version.scope, version.rate_card, version.split))
    return Jsonb(scope), Jsonb(card), Jsonb(split)
