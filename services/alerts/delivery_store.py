"""What waits to be delivered, in PostgreSQL: claimed by a lease, so that no two workers make one attempt."""

from collections.abc import Sequence
from datetime import timedelta
from typing import assert_never

from cryptography.fernet import MultiFernet
from psycopg.rows import DictRow

from services.alerts.delivery import Attempt, Delivered, EndpointGone, Failed, GaveUp, Outcome, TryAgain
from shared.database import Connection, Database, every, one

# An alert waits for the earlier ones of its case at the same endpoint: a receiver sees sequences only grow.
CLAIM = """
    with busy as (
        select endpoint_id, count(*) as under_way from deliveries
        where status = 'pending' and leased_until > clock_timestamp() group by endpoint_id
    ), chosen as (
        select due.delivery_id from endpoints left join busy using (endpoint_id)
        -- Endpoint by endpoint, so that the backlog of one costs the others nothing.
        cross join lateral (
            select delivery_id, next_try_at, sequence from deliveries
            where deliveries.endpoint_id = endpoints.endpoint_id and status = 'pending'
              and next_try_at <= clock_timestamp() and (leased_until is null or leased_until <= clock_timestamp())
              and not exists (
                  select from deliveries as earlier
                  where earlier.endpoint_id = deliveries.endpoint_id and earlier.use_id = deliveries.use_id
                    and earlier.status = 'pending' and earlier.sequence < deliveries.sequence
              )
            order by next_try_at, sequence
            limit greatest(0, %(per_endpoint)s - coalesce(busy.under_way, 0))
        ) as due
        where endpoints.status = 'active' order by due.next_try_at, due.sequence limit %(limit)s
    ), free as (
        -- Asked again: the row may have been finished or taken since `chosen` looked. A row in other hands is passed
        -- over, not waited for: who cancels an endpoint's deliveries locks many, in another order.
        select delivery_id from deliveries
        where delivery_id in (select delivery_id from chosen) and status = 'pending'
          and (leased_until is null or leased_until <= clock_timestamp())
        for update skip locked
    ), claimed as (
        update deliveries set attempts = attempts + 1, leased_until = clock_timestamp() + %(lease)s
        where delivery_id in (select delivery_id from free) returning *
    )
    select claimed.*, alerts.body, alerts.traceparent, endpoints.url,
           (select array_agg(secret order by created_at desc) from endpoint_secrets
            where endpoint_secrets.endpoint_id = claimed.endpoint_id
              and (expires_at is null or expires_at > clock_timestamp())) as secrets
    from claimed join alerts using (event_id) join endpoints on endpoints.endpoint_id = claimed.endpoint_id
    order by claimed.next_try_at, claimed.sequence
"""


class DeliveryStore:
    """The queue of deliveries."""

    def __init__(self, database: Database, cipher: MultiFernet, *, lease: timedelta, per_endpoint: int) -> None:
        self._database = database
        self._cipher = cipher
        self._lease = lease
        self._per_endpoint = per_endpoint

    async def claim(self, limit: int) -> Sequence[Attempt]:
        """Take up to so many attempts that are due; they are ours until the lease ends."""
        given = {"limit": limit, "lease": self._lease, "per_endpoint": self._per_endpoint}
        async with self._database.transaction() as connection:
            # One claims at a time: two would choose the same rows, and one of them would wait to find them taken.
            await connection.execute("select pg_advisory_xact_lock(hashtextextended('alerts claim', 0))")
            rows = await every(connection, CLAIM, given)
        return [self._attempt(row) for row in rows]

    async def finish(self, attempt: Attempt, outcome: Outcome) -> None:
        """Store what became of an attempt. A lease that ran out meanwhile leaves the word to whoever took it over."""
        async with self._database.transaction() as connection:
            match outcome:
                case Delivered(status):
                    # True whoever holds the lease now.
                    await _close(connection, attempt, "delivered", status, None, any_attempt=True)
                case TryAgain(pause, reason, status):
                    await connection.execute(
                        "update deliveries set leased_until = null, next_try_at = clock_timestamp() + %s,"
                        " last_status = %s, last_reason = %s"
                        " where delivery_id = %s and attempts = %s and status = 'pending'",
                        (pause, status, reason, attempt.delivery_id, attempt.number),
                    )
                case GaveUp(reason, status):
                    await _close(connection, attempt, "gave_up", status, reason)
                case Failed(reason):
                    await _close(connection, attempt, "failed", None, reason)
                case EndpointGone():
                    await _disable(connection, attempt)
                case _:
                    assert_never(outcome)

    async def oldest_pending_s(self) -> float:
        """The age of the oldest alert that some endpoint has yet to get; 0 when there is none."""
        async with self._database.transaction() as connection:
            row = await one(
                connection,
                "select coalesce(extract(epoch from clock_timestamp() - min(stored_at)), 0)::float8 as age"
                " from deliveries where status = 'pending'",
            )
        return float(row["age"]) if row else 0.0

    def _attempt(self, row: DictRow) -> Attempt:
        return Attempt(
            delivery_id=row["delivery_id"],
            number=row["attempts"],
            event_id=row["event_id"],
            endpoint_id=row["endpoint_id"],
            url=row["url"],
            secrets=tuple(self._cipher.decrypt(bytes(secret)).decode() for secret in row["secrets"] or ()),
            sequence=row["sequence"],
            body=row["body"],
            traceparent=row["traceparent"],
        )


async def cancel_pending(connection: Connection, endpoint_id: str, reason: str) -> None:
    """Nothing more goes to this endpoint."""
    await connection.execute(
        "update deliveries set status = 'cancelled', last_reason = %s, leased_until = null,"
        " finished_at = clock_timestamp() where endpoint_id = %s and status = 'pending'",
        (reason, endpoint_id),
    )


async def _close(
    connection: Connection,
    attempt: Attempt,
    status: str,
    last_status: int | None,
    reason: str | None,
    *,
    any_attempt: bool = False,
) -> None:
    await connection.execute(
        "update deliveries set status = %s, last_status = %s, last_reason = %s, leased_until = null,"
        " finished_at = clock_timestamp()"
        " where delivery_id = %s and status = 'pending' and (%s or attempts = %s)",
        (status, last_status, reason, attempt.delivery_id, any_attempt, attempt.number),
    )


async def _disable(connection: Connection, attempt: Attempt) -> None:
    reason = "the endpoint answered 410 Gone"
    await connection.execute(
        "update endpoints set status = 'disabled', disabled_because = %s where endpoint_id = %s and status = 'active'",
        (reason, attempt.endpoint_id),
    )
    await _close(connection, attempt, "failed", 410, reason)
    await cancel_pending(connection, attempt.endpoint_id, reason)
