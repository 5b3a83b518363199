"""Facts of posts, their media, sightings, pending fetches."""

from alembic import op

from shared.database.tables import OPERATOR, caller_is, outbox_tables, wall

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.execute("""
        create table posts (
            platform text not null,
            post_id text not null,
            livemode boolean not null,
            primary key (platform, post_id, livemode)
        );
        create table facts (
            event_id uuid primary key,
            platform text not null,
            post_id text not null,
            livemode boolean not null,
            value bytea not null
        );
        create index facts_of_post on facts (platform, post_id, livemode);
        create table media (
            event_id uuid not null,
            number integer not null,
            platform text not null,
            post_id text not null,
            livemode boolean not null,
            outcome text not null check (outcome in ('matched', 'unmatched', 'undecodable', 'unfetchable')),
            digest text,
            reason text,
            primary key (event_id, number)
        );
        create index media_of_post on media (platform, post_id, livemode);
        create table sightings (
            media_digest text not null,
            reference_id text not null,
            livemode boolean not null,
            twin_id text not null,
            agency_id text not null,
            found jsonb not null,
            primary key (media_digest, reference_id, livemode)
        );
        create table reference_owners (
            reference_id text primary key,
            twin_id text not null,
            agency_id text not null,
            revision integer not null
        );
        create table pending_fetches (
            event_id uuid not null,
            number integer not null,
            platform text not null,
            post_id text not null,
            livemode boolean not null,
            url text not null,
            attempts integer not null,
            next_at timestamptz not null,
            leased_until timestamptz,
            reason text not null,
            primary key (event_id, number)
        );
        create index pending_fetches_due on pending_fetches (next_at);
    """)
    op.execute(outbox_tables("matching"))
    for table in ("posts", "facts", "media", "reference_owners", "pending_fetches"):
        op.execute(wall("matching", table, api_rows=None))
    mine = f"{caller_is('agency_id')} or {OPERATOR}"
    op.execute(wall("matching", "sightings", api_rows=mine, api_may="select"))
