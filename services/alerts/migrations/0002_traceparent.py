"""An event and an alert carry the trace that led to them, so that it goes on where they arrive."""

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.execute("alter table outbox add column traceparent text")
    op.execute("alter table alerts add column traceparent text")
