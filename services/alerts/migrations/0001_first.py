"""Cases, what was told of them, and where it goes."""

from alembic import op

from shared.database.tables import OPERATOR, caller_is, outbox_tables, wall

revision = "0001"
down_revision = None

TABLES = """
    create table cases (
        use_id text primary key,
        agency_id text not null,
        livemode boolean not null,
        status text not null check (status in ('open', 'acknowledged', 'held', 'withdrawn')),
        revision integer not null,
        sequence integer not null,
        infringement jsonb not null,
        told jsonb,
        opened_at timestamptz not null
    );
    create index cases_of_agency on cases (agency_id, livemode, opened_at desc, use_id desc);

    create table case_steps (
        position bigint generated always as identity primary key,
        use_id text not null references cases,
        agency_id text not null,
        kind text not null,
        happened_at timestamptz not null,
        done_by text not null,
        why text not null
    );
    create index case_steps_of_case on case_steps (use_id, position);

    create table alerts (
        event_id uuid primary key,
        use_id text not null references cases,
        sequence integer not null,
        agency_id text not null,
        kind text not null check (kind in ('opened', 'changed', 'withdrawn')),
        body text not null,
        digested boolean not null,
        stored_at timestamptz not null default clock_timestamp(),
        unique (use_id, sequence)
    );

    create table endpoints (
        endpoint_id text primary key,
        agency_id text not null,
        livemode boolean not null,
        url text not null,
        status text not null default 'active' check (status in ('active', 'disabled', 'deleted')),
        disabled_because text,
        created_at timestamptz not null
    );
    create index endpoints_of_agency on endpoints (agency_id, livemode);

    create table endpoint_secrets (
        secret_id text primary key,
        endpoint_id text not null references endpoints,
        agency_id text not null,
        secret bytea not null,
        created_at timestamptz not null,
        expires_at timestamptz
    );
    create index endpoint_secrets_of_endpoint on endpoint_secrets (endpoint_id);

    create table deliveries (
        delivery_id uuid primary key,
        event_id uuid not null references alerts,
        endpoint_id text not null references endpoints,
        use_id text not null,
        sequence integer not null,
        agency_id text not null,
        status text not null default 'pending'
            check (status in ('pending', 'delivered', 'failed', 'gave_up', 'cancelled')),
        attempts integer not null default 0,
        next_try_at timestamptz not null default clock_timestamp(),
        leased_until timestamptz,
        last_status integer,
        last_reason text,
        stored_at timestamptz not null default clock_timestamp(),
        finished_at timestamptz,
        unique (event_id, endpoint_id)
    );
    create index deliveries_due on deliveries (endpoint_id, next_try_at, sequence) where status = 'pending';
    create index deliveries_leased on deliveries (leased_until) where status = 'pending';
    create index deliveries_oldest on deliveries (stored_at) where status = 'pending';
    create index deliveries_in_order on deliveries (endpoint_id, use_id, sequence) where status = 'pending';
    create index deliveries_of_case on deliveries (use_id);
"""


def upgrade() -> None:
    op.execute(TABLES)
    mine = f"{caller_is('agency_id')} or {OPERATOR}"
    op.execute(wall("alerts", "cases", api_rows=mine, api_may="select, update"))
    op.execute(wall("alerts", "case_steps", api_rows=mine, api_may="select, insert"))
    op.execute(wall("alerts", "alerts", api_rows=mine, api_may="select"))
    op.execute(wall("alerts", "endpoints", api_rows=mine))
    op.execute(wall("alerts", "endpoint_secrets", api_rows=mine))
    op.execute(wall("alerts", "deliveries", api_rows=mine, api_may="select, update"))
    op.execute(outbox_tables("alerts"))
