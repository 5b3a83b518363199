"""The uses of one post are found without a look at all uses."""

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.execute("create index uses_of_post on uses ((seen ->> 'post_id'), (seen ->> 'platform'))")
