"""`twintally trace`: one post through all services, and where its trail ends."""

import json
import os
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from pydantic import SecretStr
from rich.console import Console

from infra.dlq.showing import plain
from infra.local.settings import DEFAULT_DIRECTORY
from infra.status.addresses import addresses_of, local_addresses
from infra.trace.asking import Asker, Away
from infra.trace.endings import endings_of
from infra.trace.gathering import Gathered, gather, post_named
from infra.trace.showing import as_json, shown
from infra.trace.story import steps_of

NO_KEY = "set TWINTALLY_API_KEY to an operator's API key; `twintally keys bootstrap` makes the first one"


def trace(
    name: Annotated[str, typer.Argument(metavar="PLATFORM", help="or PLATFORM:POST_ID, a use id, an event id")],
    post_id: Annotated[str | None, typer.Argument(metavar="[POST_ID]", help="the platform's id of the post")] = None,
    key: Annotated[str | None, typer.Option("--key", envvar="TWINTALLY_API_KEY", help="an operator's API key")] = None,
    at: Annotated[list[str] | None, typer.Option(metavar="SERVICE=URL", help="where a service is")] = None,
    directory: Annotated[Path, typer.Option("--dir", help="the local stack to ask")] = DEFAULT_DIRECTORY,
    to_json: Annotated[bool, typer.Option("--json", help="print JSON instead of a timeline")] = False,
) -> None:
    """Follow one post through all services: times, decisions, ids, and where the trail ends. Exit code 1: unknown."""
    if not key:
        _leave(NO_KEY)
    try:
        known = addresses_of(os.environ, local_addresses(directory), at or ())
        with Asker({service: urls[0] for service, urls in known.items()}, SecretStr(key)) as ask:
            post = post_named(ask, name, post_id)
            found = gather(ask, post) if post is not None else None
    except (ValueError, Away) as error:
        _leave(str(error))
    if found is None or not found.known:
        _leave(_unknown(" ".join(filter(None, (name, post_id))), found))
    steps, endings = steps_of(found), endings_of(found)
    if to_json:
        typer.echo(json.dumps(as_json(found, steps, endings), indent=2))
    else:
        Console(highlight=False).print(shown(found, steps, endings))


def _unknown(named: str, found: Gathered | None) -> str:
    away = [f"- {why}" for why in found.away.values()] if found else []
    mode = {True: "live", False: "sandbox", None: "live or sandbox"}[found.livemode if found else None]
    checks = (
        f"- is it written as the platform wrote it? This API key is {mode}: posts of the other mode need another key",
        "- did intake accept it? Its answer to the webhook says so for each item",
        "- does it wait, or was it given up on? `twintally status`, `twintally dlq list --consumer matching`",
    )
    return "\n".join((f"No service knows {named}. Check:", *away, *checks))


def _leave(reason: str) -> NoReturn:
    told = "\n".join(plain(line) for line in reason.split("\n"))
    Console(stderr=True, soft_wrap=True, highlight=False).print(told, style="red", markup=False)
    raise typer.Exit(1)
