"""What Alembic runs for each service: one transaction, inside the service's own schema."""

import psycopg
from alembic import context
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

attributes = context.config.attributes
engine = create_engine(
    "postgresql+psycopg://", creator=lambda: psycopg.connect(attributes["address"]), poolclass=NullPool
)

with engine.connect() as connection:
    connection.execute(text(f"set search_path to {attributes['schema']}"))
    connection.commit()
    context.configure(connection=connection, version_table_schema=attributes["schema"])
    with context.begin_transaction():
        context.run_migrations()
