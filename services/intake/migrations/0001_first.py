"""Platforms and their secrets."""

from alembic import op

from shared.database.tables import OPERATOR, caller_is, wall

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.execute("""
        create table platforms (
            platform text primary key,
            created_at timestamptz not null default clock_timestamp()
        );
        create table platform_secrets (
            secret_id text primary key,
            platform text not null references platforms,
            livemode boolean not null,
            secret bytea not null,
            created_at timestamptz not null,
            expires_at timestamptz,
            revoked_at timestamptz
        );
        create index platform_secrets_of_platform on platform_secrets (platform);
    """)
    mine = f"{caller_is('platform')} or {OPERATOR}"
    op.execute(wall("intake", "platforms", api_rows=mine))
    op.execute(wall("intake", "platform_secrets", api_rows=mine))
