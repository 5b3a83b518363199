"""A traced post on a terminal and as JSON. What it holds comes from outside: no control character gets through."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from infra.dlq.showing import plain
from infra.trace.endings import Ending
from infra.trace.gathering import Gathered
from infra.trace.story import SERVICES, Step, clock


def as_json(found: Gathered, steps: Sequence[Step], endings: Sequence[Ending]) -> dict[str, Any]:
    """The steps, where they end, and what each service answered."""
    return {
        "post": {**asdict(found.post), "livemode": found.livemode},
        "use_ids": found.use_ids,
        "steps": [asdict(step) for step in steps],
        "ends": [asdict(ending) for ending in endings],
        "services": {
            "intake": {"facts": found.matching["facts"] if found.matching else []},
            "matching": found.matching,
            "judging": {"freshness": found.freshness, "uses": list(found.uses.values())},
            "alerts": {"cases": list(found.cases.values())},
            "royalty": {"transactions": [each for several in found.transactions.values() for each in several]},
        },
        "away": found.away,
    }


def shown(found: Gathered, steps: Sequence[Step], endings: Sequence[Ending]) -> RenderableType:
    """The steps below their services, and where the trail ends."""
    mode = {True: "live", False: "sandbox", None: ""}[found.livemode]
    head = Text(plain(f"{found.post.platform}:{found.post.post_id}"), style="bold")
    return Group(
        Text.assemble(head, f"  {mode}, times in UTC"),
        *(each for service in SERVICES for each in _part(service, found, steps)),
        Text("where the trail ends", style="bold"),
        *(_ending(ending) for ending in endings),
    )


def _part(service: str, found: Gathered, steps: Sequence[Step]) -> Iterator[RenderableType]:
    yield Text(service, style="bold cyan")
    mine = [step for step in steps if step.service == service]
    if mine:
        yield _table(mine)
    # Intake keeps no table of posts: what is known of it comes from matching.
    elif "matching" in found.away and service == "intake":
        yield Text("  not known: matching keeps the facts, and is away", style="yellow")
    elif service not in found.away:
        yield Text("  nothing", style="dim")
    if service in found.away:
        yield Text(f"  away: {plain(found.away[service])}", style="red")


def _table(steps: Sequence[Step]) -> Table:
    table = Table.grid(padding=(0, 2), pad_edge=False)
    table.add_column(no_wrap=True, width=25)
    table.add_column(overflow="fold")
    for step in steps:
        ids = "".join(f"\n{name} {plain(text)}" for name, text in step.ids.items())
        table.add_row(f"  {clock(step.at) if step.at else ''}", Text.assemble(plain(step.text), (ids, "dim")))
    return table


def _ending(ending: Ending) -> Text:
    style = "yellow" if ending.waits or ending.first_step else "green"
    use = f" (use {ending.use_id})" if ending.use_id else ""
    step = f"\n    first step: {plain(ending.first_step)}" if ending.first_step else ""
    return Text.assemble("  ", (ending.service, style), f"{use}: {plain(ending.why)}{step}")
