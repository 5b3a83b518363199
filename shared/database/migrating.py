"""Brings the schema of each service to its newest version; the only user of the owner's address."""

import json
from collections.abc import Mapping
from pathlib import Path

import psycopg
from alembic import command
from alembic.config import Config
from psycopg import sql

from shared.database.tables import role_statements


def migrate(owner_address: str, migrations: Mapping[str, Path], role_passwords: Mapping[str, str]) -> None:
    """Create roles and schemas, then run each service's migrations; running it again changes nothing.

    `migrations` maps a schema to its folder of Alembic revisions. Roles without a given password keep what they have.
    """
    with psycopg.connect(owner_address, autocommit=True, connect_timeout=10) as connection:
        # Two deployments at once take turns.
        connection.execute("select pg_advisory_lock(hashtextextended('twintally migrate', 0))")
        for schema, folder in migrations.items():
            for statement in role_statements(schema):
                connection.execute(statement.encode())
            _upgrade(owner_address, schema, folder)
        for role, password in role_passwords.items():
            connection.execute(sql.SQL("alter role {} password {}").format(sql.Identifier(role), sql.Literal(password)))


def passwords_of(text: str | None) -> dict[str, str]:
    """The JSON object of role to password; ValueError names what is wrong."""
    if not text:
        return {}
    try:
        found = json.loads(text)
    except ValueError as error:
        raise ValueError(
            f'TWINTALLY_ROLE_PASSWORDS: not JSON; example: {{"intake_worker": "..."}} ({error})'
        ) from error
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise ValueError('TWINTALLY_ROLE_PASSWORDS: must be an object of texts; example: {"intake_worker": "..."}')
    return found


def _upgrade(owner_address: str, schema: str, folder: Path) -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "alembic"))
    config.set_main_option("path_separator", "newline")
    config.set_main_option("version_locations", str(folder))
    config.attributes["address"] = owner_address
    config.attributes["schema"] = schema
    command.upgrade(config, "head")
