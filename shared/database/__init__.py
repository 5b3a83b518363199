"""PostgreSQL as our services use it: a pool per role, short transactions, and the tenant wall."""

import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import psycopg
from psycopg import AsyncConnection
from psycopg.rows import DictRow, dict_row
from psycopg_pool import AsyncConnectionPool
from pydantic import SecretStr

from shared.access import Caller
from shared.logs import get_log

log = get_log()

Connection = AsyncConnection[DictRow]

# Also for a process that is paused in the middle of a transaction: its locks must not hold up the others for ever.
LIMITS = "-c statement_timeout=30s -c lock_timeout=10s -c idle_in_transaction_session_timeout=15s"


class Database:
    """One role's connections to one service's schema."""

    def __init__(self, address: SecretStr, schema: str, *, connections_max: int = 8) -> None:
        self.schema = schema
        self._pool: AsyncConnectionPool[Connection] = AsyncConnectionPool(
            address.get_secret_value(),
            kwargs={
                "row_factory": dict_row,
                "options": f"-c search_path={schema} {LIMITS}",
                "application_name": schema,
                "connect_timeout": 5,
            },
            min_size=1,
            max_size=connections_max,
            timeout=10.0,
            open=False,
            check=AsyncConnectionPool.check_connection,
        )

    async def open(self) -> None:
        """Open the pool; waits until one connection stands, psycopg_pool.PoolTimeout otherwise."""
        await self._pool.open(wait=True, timeout=30.0)

    async def close(self) -> None:
        """Close every connection."""
        await self._pool.close()

    @asynccontextmanager
    async def transaction(self, caller: Caller | None = None) -> AsyncIterator[Connection]:
        """One transaction; with a caller, row-level security shows that caller's rows only."""
        async with self._pool.connection() as connection, connection.transaction():
            if caller is not None:
                await _show_rows_of(connection, caller)
            yield connection

    @asynccontextmanager
    async def dedicated(self) -> AsyncIterator[Connection]:
        """A connection in autocommit mode, for session-level advisory locks."""
        async with self._pool.connection() as connection:
            await connection.set_autocommit(True)
            try:
                yield connection
            finally:
                # An error here must not take the place of a cancellation; the pool looks at each connection again.
                with contextlib.suppress(psycopg.Error):
                    if not connection.closed:
                        await connection.execute("select pg_advisory_unlock_all()")
                        await connection.set_autocommit(False)


async def _show_rows_of(connection: Connection, caller: Caller) -> None:
    for name, value in caller.row_filters().items():
        await connection.execute("select set_config(%s, %s, true)", (f"twintally.{name}", value))


async def one(connection: Connection, query: str, arguments: Any = ()) -> DictRow | None:
    """The first row of a query, or None."""
    return await (await connection.execute(query, arguments)).fetchone()


async def every(connection: Connection, query: str, arguments: Any = ()) -> list[DictRow]:
    """All rows of a query."""
    return await (await connection.execute(query, arguments)).fetchall()
