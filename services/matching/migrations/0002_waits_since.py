"""Since when a pending fetch has waited, so that the oldest can be seen."""

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.execute(
        "alter table pending_fetches add column waits_since timestamptz not null default clock_timestamp();"
        " create index pending_fetches_oldest on pending_fetches (waits_since);"
    )
