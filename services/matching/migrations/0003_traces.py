"""An operator follows one post: when each thing was learnt, and the right to read it."""

from alembic import op

from shared.database.tables import OPERATOR

revision = "0003"
down_revision = "0002"

# The role of requests saw none of these; now it sees them when an operator asks, and changes nothing.
READ = ("facts", "media", "pending_fetches", "published_states", "outbox")


def upgrade() -> None:
    # Rows from before stay without a time: nobody wrote it down.
    for table, column in (("facts", "stored_at"), ("media", "known_at")):
        op.execute(
            f"alter table {table} add column {column} timestamptz;"
            f" alter table {table} alter column {column} set default clock_timestamp()"
        )
    for table in READ:
        op.execute(
            f"create policy operator_reads on matching.{table} for select to matching_api using ({OPERATOR});"
            f" grant select on matching.{table} to matching_api"
        )
