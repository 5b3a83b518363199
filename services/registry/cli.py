"""`twintally keys`: the first operator's API key, which nobody could ask for over the API."""

import asyncio
from datetime import UTC, datetime
from typing import Annotated
from uuid import uuid4

import psycopg
import typer
from psycopg_pool import PoolTimeout
from pydantic import SecretStr
from rich.console import Console

from services.registry.domain import ApiKey, hash_of_key, made_id, new_key_text
from services.registry.store import KeyTable
from shared.database import Database

app = typer.Typer(help="API keys.", no_args_is_help=True)

Address = Annotated[
    str,
    typer.Option(
        envvar="TWINTALLY_DATABASE_WORKER",
        help="the address of the database for registry_worker; that of the local stack when one runs here",
        # It may hold a password.
        show_default=False,
    ),
]


@app.callback()
def keys() -> None:
    """API keys."""


@app.command()
def bootstrap(
    database: Address,
    livemode: Annotated[bool, typer.Option("--livemode/--sandbox", help="the mode that the key works in")] = True,
    force: Annotated[bool, typer.Option(help="make another one beside those that exist")] = False,
) -> None:
    """Make the first operator's API key and print it, once, on standard output."""
    said = Console(stderr=True, soft_wrap=True)
    mode = "live mode" if livemode else "the sandbox"
    try:
        text = asyncio.run(_bootstrap(SecretStr(database), livemode=livemode, force=force))
    except (psycopg.Error, PoolTimeout) as error:
        said.print(
            f"[red]The registry's database cannot be used:[/] {error}\n"
            "Check TWINTALLY_DATABASE_WORKER, and that `twintally migrate` has run."
        )
        raise typer.Exit(1) from error
    if text is None:
        said.print(
            f"[red]An operator's key for {mode} exists already.[/] Use it to make others (POST /v1/api-keys of the"
            " registry), or add one with --force when it is lost."
        )
        raise typer.Exit(1)
    said.print(
        f"The operator's API key for {mode}, in the database at {_place(database)}."
        " Keep it now: it is shown this once, and only its hash is stored."
    )
    typer.echo(text)


def _place(database: str) -> str:
    parts = psycopg.conninfo.conninfo_to_dict(database)
    return ":".join(str(parts[name]) for name in ("host", "port") if parts.get(name)) or "the default database"


async def _bootstrap(address: SecretStr, *, livemode: bool, force: bool) -> str | None:
    now = datetime.now(UTC)
    text = new_key_text()
    key = ApiKey(
        api_key_id=made_id("API key", uuid4()),
        key_hash=hash_of_key(text),
        role="operator",
        tenant_id=None,
        agency_id=None,
        name="bootstrap",
        livemode=livemode,
        created_at=now,
        changed_at=now,
    )
    # A pool tries for half a minute before it says that it cannot; a person should hear of a wrong address at once.
    await (await psycopg.AsyncConnection.connect(address.get_secret_value(), connect_timeout=5)).close()
    database = Database(address, "registry", connections_max=1)
    try:
        await database.open()
        return text if await KeyTable(database).add_operator(key, beside_others=force) else None
    finally:
        await database.close()
