"""What is told of a run: a table for people with the goals beside, and a file."""

import json
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from infra.bench.sizes import Sizes
from infra.local.services import SERVICES

# The names that every report has, also when their phase failed or was not played.
NUMBERS = (
    "posts_per_s",
    "ledger_p50_s",
    "ledger_p99_s",
    "alert_p50_s",
    "alert_p99_s",
    "backlog_end",
    "intake_ratio",
    "idle_rss_mb",
)
TABLES = ("cpu_s_per_1000_posts", "rss_growth", "cpu_per_event")
# Everything else that a table of one row each shows.
BESIDES = (
    "ledger_missing",
    "alert_missing",
    "steady_left",
    "saturate_missing",
    "dead_letters",
    "intake_per_s",
    "bare_per_s",
    "intake_batch_items_per_s",
    "growth_facts_per_s",
)


@dataclass(frozen=True)
class Goal:
    """What a number shall be on two quiet cores."""

    name: str
    text: str
    value: Callable[[Mapping[str, Any]], Any]
    holds: Callable[[Any], bool]


def _largest_growth(found: Mapping[str, Any]) -> float | None:
    # The parts fill their caches while there is room: the promise is that of the services.
    return max((ratio for name, ratio in (found.get("rss_growth") or {}).items() if name in SERVICES), default=None)


GOALS = (
    Goal("ledger_p99_s", "< 2", lambda found: found.get("ledger_p99_s"), lambda value: bool(value < 2)),
    Goal("alert_p99_s", "< 2", lambda found: found.get("alert_p99_s"), lambda value: bool(value < 2)),
    Goal("backlog_flat", "yes", lambda found: found.get("backlog_flat"), bool),
    Goal("intake_ratio", ">= 0.8", lambda found: found.get("intake_ratio"), lambda value: bool(value >= 0.8)),
    Goal("rss_growth, largest of a service", "< 1.1", _largest_growth, lambda value: bool(value < 1.1)),
    Goal(
        "cpu_per_event, 2 by 1",
        "<= 1.25",
        lambda found: (found.get("cpu_per_event_ratio") or {}).get("2"),
        lambda value: bool(value <= 1.25),
    ),
)


def report_of(found: Mapping[str, Any], failed: Mapping[str, str], sizes: Sizes) -> dict[str, Any]:
    """Everything that was found, under its name; null or empty is what was not."""
    named = {**dict.fromkeys(NUMBERS), **{name: {} for name in TABLES}, **found}
    goals = {goal.name: _is_met(goal, named) for goal in GOALS}
    return {**named, "goals_met": goals, "failed": dict(failed), "commit": commit(), "sizes": asdict(sizes)}


def _is_met(goal: Goal, found: Mapping[str, Any]) -> bool | None:
    value = goal.value(found)
    return None if value is None else goal.holds(value)


def commit() -> str:
    """What was measured: the commit, with `+` when files differ from it."""
    try:
        named, changed = (
            subprocess.run(("git", *words), capture_output=True, text=True, check=True, timeout=30).stdout.strip()  # noqa: S603, S607
            for words in (("rev-parse", "HEAD"), ("status", "--porcelain", "--untracked-files=no"))
        )
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return named + ("+" if changed else "")


def write(report: Mapping[str, Any], path: Path) -> None:
    """Write it as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report, indent=2) + "\n")


def show(report: Mapping[str, Any], console: Console) -> None:
    """Print it for people."""
    console.print(_goals(report))
    table = Table("number", "value")
    for name in (*NUMBERS, *BESIDES):
        table.add_row(name, _said(report.get(name)))
    console.print(table)
    console.print(_by_service(report))
    for count, cost in report["cpu_per_event"].items():
        ratio = report["cpu_per_event_ratio"][count]
        console.print(f"matching with {count}: {1000 * cost:.1f} ms of CPU per post, {ratio:.2f} times one's")
    for phase, why in report["failed"].items():
        console.print(f"[red]✗ {phase}[/] failed: ", end="")
        console.print(why, markup=False, highlight=False, soft_wrap=True)


def _goals(report: Mapping[str, Any]) -> Table:
    table = Table("goal", "wanted", "found", "", title="on two quiet cores")
    marks = {True: "[green]met[/]", False: "[red]missed[/]", None: "[dim]not measured[/]"}
    for goal in GOALS:
        table.add_row(goal.name, goal.text, _said(goal.value(report)), marks[report["goals_met"][goal.name]])
    return table


def _by_service(report: Mapping[str, Any]) -> Table:
    columns = {
        "CPU s per 1,000 posts": report["cpu_s_per_1000_posts"],
        "the same, saturated": report.get("cpu_s_per_1000_posts_saturated", {}),
        "idle, cores": report.get("idle_cores", {}),
        "idle, MB (PSS)": report.get("idle_rss_mb_by_service", {}),
        "RSS, end by half": report["rss_growth"],
    }
    table = Table("service", *columns)
    for name in dict.fromkeys(name for column in columns.values() for name in column):
        table.add_row(name, *(_said(column.get(name)) for column in columns.values()))
    return table


def _said(value: Any) -> str:
    match value:
        case None:
            return "-"
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:.3f}" if abs(value) < 100 else f"{value:.0f}"
        case _:
            return str(value)
