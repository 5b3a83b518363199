"""A reference that comes after a post still finds it: fingerprints of queries, and the searches to be made."""

from alembic import op

from shared.database.tables import wall

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    # References from before have no addition: no query is older than this migration, and a worker reads them all first.
    op.execute("""
        create sequence reference_additions;
        grant usage on sequence reference_additions to matching_worker;
        alter table reference_owners add column livemode boolean, add column addition bigint unique;
        create table queries (
            number bigint generated always as identity primary key,
            media_digest text not null,
            livemode boolean not null,
            fingerprint bytea not null,
            searched_at timestamptz not null default clock_timestamp(),
            unique (media_digest, livemode)
        );
        -- A picture without loss is compressed already.
        alter table queries alter column fingerprint set storage external;
        create index queries_of_mode on queries (livemode, number);
        create index queries_by_age on queries (searched_at);
        create table late_searches (
            job bigint generated always as identity primary key,
            reference_id text not null,
            revision integer not null,
            livemode boolean not null,
            fingerprint bytea,
            next_number bigint not null,
            last_number bigint not null,
            waits_since timestamptz not null default clock_timestamp(),
            claim uuid,
            leased_until timestamptz
        );
        create index late_searches_of_reference on late_searches (reference_id);
        create index late_searches_oldest on late_searches (waits_since);
        create index late_searches_by_claim on late_searches (claim);
        create table missing_evidence (
            media_digest text primary key,
            attempts integer not null default 0,
            next_at timestamptz not null default clock_timestamp(),
            leased_until timestamptz,
            gave_up text
        );
        create index missing_evidence_due on missing_evidence (next_at) where gave_up is null;
        create index media_of_image on media (digest, livemode) where digest is not null;
    """)
    for table in ("queries", "late_searches", "missing_evidence"):
        op.execute(wall("matching", table, api_rows=None))
