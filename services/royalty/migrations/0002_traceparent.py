"""An event carries the trace that led to it, so that it goes on where the event arrives."""

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.execute("alter table outbox add column traceparent text")
