"""The API keys: whose a presented one is, and the first operator's."""

from services.registry.domain import ApiKey, hash_of_key
from services.registry.store.shelves import SHELVES, Shelf
from shared.access import Caller
from shared.database import Database, one
from shared.outbox import ensure_state


class KeyTable:
    """Knows the keys from their own table, so that a fresh one works at once and a revoked one stops at once."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def caller_of(self, api_key: str) -> Caller | None:
        """The caller behind a key's text, or None for an unknown or revoked key."""
        key_hash = hash_of_key(api_key)
        async with self._database.transaction() as connection:
            await connection.execute("select set_config('twintally.key_hash', %s, true)", (key_hash,))
            row = await one(
                connection,
                "select api_key_id, role, tenant_id, livemode from api_keys where key_hash = %s and status = 'active'",
                (key_hash,),
            )
        return Caller(row["api_key_id"], row["role"], row["tenant_id"], row["livemode"]) if row else None

    async def add_operator(self, key: ApiKey, *, beside_others: bool) -> bool:
        """Keep an operator's key; False when one of its mode exists already. Takes the worker's database."""
        shelf: Shelf[ApiKey] = SHELVES[ApiKey]
        async with self._database.transaction() as connection:
            # Two who begin at once take turns.
            await connection.execute("select pg_advisory_xact_lock(hashtextextended('registry bootstrap', 0))")
            known = await one(
                connection,
                "select from api_keys where role = 'operator' and status = 'active' and livemode = %s limit 1",
                (key.livemode,),
            )
            if known is not None and not beside_others:
                return False
            await connection.execute(shelf.insert, {**shelf.row_of(key), "request_digest": key.key_hash})
            await ensure_state(connection, key.state)
        return True
