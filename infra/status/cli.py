"""`twintally status`: the flow live in a terminal, or once."""

import asyncio
import contextlib
import json
import os
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console, RenderableType
from rich.live import Live

from infra.dlq.showing import plain
from infra.local.settings import DEFAULT_DIRECTORY
from infra.status.addresses import Addresses, addresses_of, local_addresses, local_kafka
from infra.status.flow import flow_of
from infra.status.looking import Eye
from infra.status.needs import needs_of
from infra.status.samples import Look
from infra.status.showing import as_json, shown

PAUSE_S = 1.0


def status(
    once: Annotated[bool, typer.Option("--once", help="print it once, after two looks a second apart")] = False,
    to_json: Annotated[bool, typer.Option("--json", help="print it once, as JSON")] = False,
    at: Annotated[
        list[str] | None,
        typer.Option(metavar="SERVICE=URL", help="where a process of a service is; again for each further one"),
    ] = None,
    directory: Annotated[Path, typer.Option("--dir", help="the local stack to look at")] = DEFAULT_DIRECTORY,
) -> None:
    """The flow as it is now: rate and lag of each stage, dead letters, freshness, and what needs a person."""
    console = Console(highlight=False)
    try:
        addresses = addresses_of(os.environ, local_addresses(directory), at or ())
    except ValueError as error:
        _leave(str(error))
    if not addresses:
        _leave(f"No stack runs in {directory}; `make up` starts one, TWINTALLY_URL_NAME or --at NAME=URL names others")
    kafka = os.environ.get("TWINTALLY_KAFKA") or local_kafka(directory)
    with contextlib.suppress(KeyboardInterrupt):
        if once or to_json or not console.is_terminal:
            before, now = asyncio.run(_twice(addresses, kafka))
            typer.echo(json.dumps(_json(before, now), indent=2)) if to_json else console.print(_page(before, now))
        else:
            asyncio.run(_live(addresses, kafka, console))


async def _twice(addresses: Addresses, kafka: str | None) -> tuple[Look, Look]:
    async with Eye(addresses, kafka) as eye:
        before = await eye.look()
        await asyncio.sleep(PAUSE_S)
        return before, await eye.look(wait_for_letters=True)


async def _live(addresses: Addresses, kafka: str | None, console: Console) -> None:
    async with Eye(addresses, kafka) as eye:
        before = await eye.look()
        with Live(_page(None, before), console=console, screen=True, auto_refresh=False) as live:
            while True:
                await asyncio.sleep(PAUSE_S)
                now = await eye.look()
                live.update(_page(before, now), refresh=True)
                before = now


def _page(before: Look | None, now: Look) -> RenderableType:
    return shown(now, flow_of(before, now), needs_of(before, now))


def _json(before: Look, now: Look) -> dict[str, object]:
    return as_json(now, flow_of(before, now), needs_of(before, now))


def _leave(reason: str) -> NoReturn:
    Console(stderr=True, soft_wrap=True, highlight=False).print(plain(reason), style="red", markup=False)
    raise typer.Exit(1)
