"""What the file of a searched image disclosed, so that a late match tells it too."""

from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.execute("alter table queries add column disclosure jsonb")
