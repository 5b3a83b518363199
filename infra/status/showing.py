"""The flow on a terminal and as JSON."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from infra.dlq.showing import plain
from infra.status.flow import Stage
from infra.status.needs import Need
from infra.status.samples import Letters, Look, Process


def as_json(look: Look, stages: Sequence[Stage], needs: Sequence[Need]) -> dict[str, Any]:
    """Everything that is shown; null: nobody tells."""
    by_consumer = look.letters.by_consumer
    return {
        "at": datetime.fromtimestamp(look.at_s, UTC).isoformat(),
        "stages": [_finite(asdict(stage)) for stage in stages],
        "dead_letters": {
            "open": None if by_consumer is None else sum(by_consumer.values()),
            "by_consumer": by_consumer,
            "problem": look.letters.problem,
        },
        "processes": [
            {"service": each.service, "address": each.address, "ready": _is_ready(each), "says": _says(each)}
            for each in look.processes
        ],
        "needs": [asdict(need) for need in needs],
    }


def shown(look: Look, stages: Sequence[Stage], needs: Sequence[Need]) -> RenderableType:
    """What needs a person, which a small screen must not cut off, then the flow and the processes."""
    return Group(*_needs(needs), _flow(look, stages), _processes(look))


def _flow(look: Look, stages: Sequence[Stage]) -> Table:
    at = datetime.fromtimestamp(look.at_s, UTC)
    letters = _letters(look.letters)
    table = Table(title=f"Twintally {at:%Y-%m-%d %H:%M:%S} UTC", caption=f"dead letters: {letters}")
    table.add_column("Stage", no_wrap=True)
    table.add_column("Per second")
    for name in ("Lag", "Oldest", "Outbox"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("Now")
    for stage in stages:
        rates = ", ".join(f"{name} {_number(value, '.1f')}" for name, value in stage.per_s.items())
        levels = ", ".join(f"{name} {_level(name, value)}" for name, value in stage.levels.items())
        ages = [_seconds(age) for age in (stage.oldest_unconfirmed_s, stage.outbox_oldest_s)]
        table.add_row(stage.name, rates, _number(stage.lag, ".0f"), *ages, levels)
    return table


def _processes(look: Look) -> Table:
    table = Table.grid(padding=(0, 2))
    for each in look.processes:
        style = "green" if _is_ready(each) else "red"
        table.add_row(Text(each.service, style=style), each.address, plain(_says(each)))
    return table


def _needs(needs: Sequence[Need]) -> list[Text]:
    if not needs:
        return [Text("Nothing needs a person.", style="green")]
    told = [
        Text.assemble("  ", (plain(need.what), "yellow"), f"\n    first step: {plain(need.first_step)}")
        for need in needs
    ]
    return [Text("What needs a person", style="bold yellow"), *told]


def _says(each: Process) -> str:
    if each.away is not None:
        return f"does not answer: {each.away}"
    wrong = {**each.unready, **each.unwell}
    return "; ".join(f"{name}: {problem}" for name, problem in wrong.items()) or "ready"


def _is_ready(each: Process) -> bool:
    return each.away is None and not each.unready and not each.unwell


def _letters(letters: Letters) -> str:
    if letters.by_consumer is None:
        return plain(letters.problem) if letters.problem else "being read"
    told = ", ".join(f"{name} {count}" for name, count in sorted(letters.by_consumer.items()))
    return f"{sum(letters.by_consumer.values())} open" + (f" ({plain(told)})" if told else "")


def _level(name: str, value: float | None) -> str:
    return {0.0: "no", 1.0: "yes"}[value] if name == "fresh" and value is not None else _number(value, ".0f")


def _number(value: float | None, form: str) -> str:
    if value is None:
        return "-"
    return "never" if math.isinf(value) else format(value, form)


def _seconds(value: float | None) -> str:
    return _number(value, ".1f") + ("" if value is None or math.isinf(value) else " s")


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _finite(each) for name, each in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
