"""A late match that fails for its own fault is tried again some times, and then waits for a person."""

from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.execute("""
        alter table late_searches
            add column attempts integer not null default 0,
            add column reason text,
            add column given_up boolean not null default false;
        create index late_searches_open on late_searches (job) where not given_up;
        drop index late_searches_of_reference;
        create index late_searches_of_reference on late_searches (reference_id, revision);
    """)
