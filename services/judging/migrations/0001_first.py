"""Uses and their verdicts, lookup data, what must be judged again."""

from alembic import op

from shared.database.tables import OPERATOR, caller_is, outbox_tables, wall

revision = "0001"
down_revision = None

TABLES = """
    -- `seen` is the highest revision of sightings.v1; the rest of a row is what was last concluded from it.
    create table uses (
        use_id text primary key,
        seen_revision integer not null,
        seen jsonb,
        livemode boolean,
        twin_id text,
        account_keys text[] not null default '{}',
        verdict text check (verdict in ('licensed', 'out_of_scope', 'unlicensed', 'no_use')),
        reasons jsonb not null default '[]',
        license_id text,
        license_version integer,
        agency_id text,
        talent_id text,
        brand_id text,
        awaiting_fresh boolean not null default false,
        usage jsonb,
        infringement jsonb,
        judged_at timestamptz
    );
    create index uses_of_twin on uses (twin_id, use_id);
    create index uses_of_agency on uses (agency_id, use_id);
    create index uses_of_talent on uses (talent_id, use_id);
    create index uses_of_brand on uses (brand_id, use_id);
    create index uses_of_accounts on uses using gin (account_keys);
    create index uses_awaiting_fresh on uses (use_id) where awaiting_fresh;

    -- As judged then, with what was known: a row per conclusion that differs from the one before.
    create table verdict_history (
        position bigint generated always as identity primary key,
        use_id text not null references uses,
        judged_at timestamptz not null default clock_timestamp(),
        seen_revision integer not null,
        verdict text not null,
        reasons jsonb not null,
        license_id text,
        license_version integer,
        awaiting_fresh boolean not null,
        known jsonb not null
    );
    create index verdict_history_of_use on verdict_history (use_id, position);

    create table lookups (
        topic text not null,
        message_key text not null,
        revision bigint not null,
        type text not null,
        twin_id text,
        account_keys text[] not null default '{}',
        state jsonb not null,
        primary key (topic, message_key)
    );
    create index lookups_of_twin on lookups (twin_id, type) where twin_id is not null;
    create index lookups_of_accounts on lookups using gin (account_keys);

    -- One of these stops all accusations until a later readable record of its key, or an operator, repairs it.
    create table unreadable_lookups (
        topic text not null,
        message_key text not null,
        partition integer not null,
        record_offset bigint not null,
        error text not null,
        found_at timestamptz not null default clock_timestamp(),
        dropped_by text,
        primary key (topic, message_key)
    );

    create table to_judge (
        use_id text primary key references uses,
        bulk boolean not null,
        attempts integer not null default 0,
        not_before timestamptz not null default '-infinity'
    );
    create index to_judge_due on to_judge (not_before, use_id);
"""


def upgrade() -> None:
    op.execute(TABLES)
    op.execute(outbox_tables("judging"))
    own = " or ".join(caller_is(column) for column in ("agency_id", "talent_id", "brand_id"))
    op.execute(wall("judging", "uses", api_rows=f"{own} or {OPERATOR}", api_may="select"))
    # The wall of uses holds inside this condition too.
    seen = "exists (select from judging.uses as own where own.use_id = verdict_history.use_id)"
    op.execute(wall("judging", "verdict_history", api_rows=seen, api_may="select"))
    op.execute(wall("judging", "unreadable_lookups", api_rows=OPERATOR, api_may="select, update"))
    for table in ("lookups", "to_judge"):
        op.execute(wall("judging", table, api_rows=None))
