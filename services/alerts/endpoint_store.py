"""Where agencies want their alerts, and the secrets that sign them, encrypted at rest."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import uuid4

from cryptography.fernet import MultiFernet
from psycopg.rows import DictRow

from services.alerts.delivery_store import cancel_pending
from shared.access import Caller
from shared.database import Connection, Database, every, one

ENDPOINTS_MAX = 10


@dataclass(frozen=True)
class Endpoint:
    """One address of one agency."""

    endpoint_id: str
    agency_id: str
    livemode: bool
    url: str
    status: str
    disabled_because: str | None
    created_at: datetime


class EndpointStore:
    """The endpoints that a caller may see and change."""

    def __init__(self, database: Database, cipher: MultiFernet) -> None:
        self._database = database
        self._cipher = cipher

    async def add(self, caller: Caller, *, url: str, secret: str, now: datetime) -> Endpoint | None:
        """A new endpoint of the calling agency; None when it has as many as it may have."""
        endpoint = Endpoint(
            f"ep_{uuid4().hex}", caller.tenant_id or "", caller.livemode, url, "active", None, created_at=now
        )
        async with self._database.transaction(caller) as connection:
            await connection.execute(
                "select pg_advisory_xact_lock(hashtextextended(%s, 0))", (f"endpoints:{endpoint.agency_id}",)
            )
            count = await one(
                connection,
                "select count(*) as number from endpoints where status <> 'deleted' and livemode = %s",
                (caller.livemode,),
            )
            if count is not None and count["number"] >= ENDPOINTS_MAX:
                return None
            await connection.execute(
                "insert into endpoints (endpoint_id, agency_id, livemode, url, created_at) values (%s, %s, %s, %s, %s)",
                (endpoint.endpoint_id, endpoint.agency_id, endpoint.livemode, url, now),
            )
            await self._add_secret(connection, endpoint, secret, now)
        return endpoint

    async def list(self, caller: Caller) -> Sequence[Endpoint]:
        """All that are not deleted, oldest first."""
        async with self._database.transaction(caller) as connection:
            rows = await every(
                connection,
                "select * from endpoints where status <> 'deleted' and livemode = %s order by created_at, endpoint_id",
                (caller.livemode,),
            )
        return [_endpoint(row) for row in rows]

    async def rotate(
        self, caller: Caller, endpoint_id: str, *, secret: str, now: datetime, overlap: timedelta
    ) -> Endpoint | None:
        """Sign with a new secret, and for the overlap with older ones too; None: the caller has no such endpoint."""
        async with self._database.transaction(caller) as connection:
            endpoint = await _locked(connection, caller, endpoint_id)
            if endpoint is None:
                return None
            await connection.execute(
                "update endpoint_secrets set expires_at = least(coalesce(expires_at, 'infinity'), %s)"
                " where endpoint_id = %s",
                (now + overlap, endpoint_id),
            )
            await self._add_secret(connection, endpoint, secret, now)
        return endpoint

    async def delete(self, caller: Caller, endpoint_id: str) -> bool:
        """Send nothing more there, not even what waits; False: the caller has no such endpoint."""
        async with self._database.transaction(caller) as connection:
            if await _locked(connection, caller, endpoint_id) is None:
                return False
            await connection.execute("update endpoints set status = 'deleted' where endpoint_id = %s", (endpoint_id,))
            await cancel_pending(connection, endpoint_id, "the endpoint was deleted")
        return True

    async def _add_secret(self, connection: Connection, endpoint: Endpoint, secret: str, now: datetime) -> None:
        await connection.execute(
            "insert into endpoint_secrets (secret_id, endpoint_id, agency_id, secret, created_at)"
            " values (%s, %s, %s, %s, %s)",
            (
                f"esec_{uuid4().hex}",
                endpoint.endpoint_id,
                endpoint.agency_id,
                self._cipher.encrypt(secret.encode()),
                now,
            ),
        )


async def _locked(connection: Connection, caller: Caller, endpoint_id: str) -> Endpoint | None:
    row = await one(
        connection,
        "select * from endpoints where endpoint_id = %s and livemode = %s and status <> 'deleted' for update",
        (endpoint_id, caller.livemode),
    )
    return None if row is None else _endpoint(row)


def _endpoint(row: DictRow) -> Endpoint:
    return Endpoint(
        row["endpoint_id"],
        row["agency_id"],
        row["livemode"],
        row["url"],
        row["status"],
        row["disabled_because"],
        row["created_at"],
    )
