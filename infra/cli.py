"""The one command line, `twintally`: each part brings its own commands."""

import os
from importlib.resources import files
from pathlib import Path
from typing import Annotated

import psycopg
import typer
from rich.console import Console

from infra.demo.cli import demo
from infra.dlq.cli import app as dlq
from infra.kafka.topics import app as topics
from infra.local.addresses import env_of_running
from infra.local.cli import app as stack
from infra.status.cli import status
from infra.trace.cli import trace
from services.matching.cli import app as matching
from services.registry.cli import app as keys
from services.royalty.cli import app as statements
from shared.database.migrating import migrate as run_migrations
from shared.database.migrating import passwords_of

SCHEMAS = ("intake", "registry", "matching", "judging", "alerts", "royalty")

app = typer.Typer(no_args_is_help=True)
app.add_typer(stack, name="stack")
app.add_typer(topics, name="topics")
app.add_typer(dlq, name="dlq")
app.add_typer(keys, name="keys")
app.add_typer(statements, name="statements")
app.add_typer(matching, name="matching")
app.command()(demo)
app.command()(status)
app.command()(trace)


def migrations_of(schemas: tuple[str, ...] = SCHEMAS) -> dict[str, Path]:
    """The folder of migrations of each service that has a schema."""
    return {schema: Path(str(files("services").joinpath(schema, "migrations"))) for schema in schemas}


@app.callback()
def twintally(context: typer.Context) -> None:
    """Twintally: every use of a digital twin found, judged and paid."""
    # Addresses that neither an option nor the environment gives are those of the local stack, when one runs here.
    if at := env_of_running("registry"):
        royalty = {"url": at["TWINTALLY_URL_ROYALTY"]}
        context.default_map = {
            "keys": {"bootstrap": {"database": at["TWINTALLY_DATABASE_WORKER"]}},
            "statements": {"list": royalty, "show": royalty},
        }


@app.command()
def migrate(
    database: Annotated[str, typer.Option(envvar="TWINTALLY_DATABASE", help="the owner's address")],
) -> None:
    """Bring every service's schema and roles to the newest version."""
    console = Console()
    try:
        run_migrations(database, migrations_of(), passwords_of(os.environ.get("TWINTALLY_ROLE_PASSWORDS")))
    except (psycopg.Error, ValueError) as error:
        console.print(f"[red]The database could not be migrated:[/] {error}")
        raise typer.Exit(1) from error
    console.print(f"{len(SCHEMAS)} schemas are at their newest version")


if __name__ == "__main__":
    app()
