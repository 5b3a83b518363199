"""`twintally stack`: the local stack from the command line."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from infra.local import launch
from infra.local.faults import StackError, of_system
from infra.local.kafka.jars import class_path
from infra.local.logs import Logs
from infra.local.processes import alive, resident_bytes
from infra.local.services import SERVICES, Command
from infra.local.settings import DEFAULT_DIRECTORY, External, StackSettings, named
from infra.local.state import PartState, StackState, read_state

FOLLOW_S = 0.3
NEXT_STEP = "Next: .venv/bin/twintally keys bootstrap makes the first operator's API key and prints it, once."
LINES_OF_ONE, LINES_OF_EACH = 50, 10
LOG_COLOURS = ("cyan", "green", "yellow", "magenta", "blue", "bright_cyan", "bright_green", "bright_magenta")
STATE_COLOURS = {"ready": "green", "starting": "yellow", "restarting": "yellow", "gone": "red", "external": "cyan"}
ROOT_CLI = (sys.executable, "-m", "infra.cli")

app = typer.Typer(help="Run Kafka, PostgreSQL, Valkey and the services on this machine.", no_args_is_help=True)
Directory = Annotated[Path, typer.Option("--dir", help="where this stack lives")]


@app.command()
def up(
    directory: Directory = DEFAULT_DIRECTORY,
    parts_only: Annotated[bool, typer.Option("--parts-only", help="only Kafka, PostgreSQL and Valkey")] = False,
    service: Annotated[list[str] | None, typer.Option(help="only this service (may be repeated)")] = None,
) -> None:
    """Start the stack in the background and wait until all of it is ready."""
    console = Console()
    with _told(console):
        names = () if parts_only else tuple(service or SERVICES)
        try:
            services = named(names)
        except ValueError as error:
            raise typer.BadParameter(str(error), param_hint="--service") from error
        settings = StackSettings(directory=directory, services=services, hooks=default_hooks() if services else ())
        if settings.external.kafka is None:
            _fetch_jars(console)
        state = _start(console, settings)
        console.print(f"The stack is ready. kafka {state.kafka}, redis {state.redis}", soft_wrap=True, highlight=False)
        if "registry" in names and directory == DEFAULT_DIRECTORY:
            console.print(NEXT_STEP, soft_wrap=True, highlight=False)


@app.command()
def down(directory: Directory = DEFAULT_DIRECTORY) -> None:
    """Stop the stack, and whatever a killed one left behind."""
    console = Console()
    with _told(console), console.status("stopping"):
        stopped = launch.stop(directory)
    console.print(f"Stopped: {', '.join(stopped)}" if stopped else "Nothing runs here.", highlight=False)


@app.command()
def status(directory: Directory = DEFAULT_DIRECTORY) -> None:
    """Show what runs, where, and how much memory it holds. Exit code 1 when not all of it is ready."""
    console = Console()
    state = read_state(directory)
    if state is None:
        console.print(f"There is no stack in {directory}.", highlight=False)
        raise typer.Exit(1)
    console.print(_table(state))
    console.print(_summary(state), highlight=False)
    raise typer.Exit(0 if state.phase == "ready" and state.owned else 1)


@app.command()
def logs(
    name: Annotated[str | None, typer.Argument(help="a part, a service, a hook, or supervisor; else all")] = None,
    directory: Directory = DEFAULT_DIRECTORY,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="go on as lines come")] = False,
    lines: Annotated[int | None, typer.Option("-n", "--lines", min=0, help="how many of the last lines")] = None,
) -> None:
    """Show the last lines of every log (10 of each), or of one (50)."""
    every = Logs(directory / "logs")
    known = [log.name for log in every.found()]
    if not known or (name is not None and name not in known):
        told = f"There is no log {f'named {name}' if name else f'in {directory}'}. Logs here: "
        Console(stderr=True).print(told + (", ".join(known) or "none yet"), highlight=False, soft_wrap=True)
        raise typer.Exit(1)
    show = _prefixing(max(map(len, known))) if name is None else _plainly
    wanted = lines if lines is not None else LINES_OF_EACH if name is None else LINES_OF_ONE
    for log in every.found():
        if name in (None, log.name):
            show(log.name, log.last(wanted))
    while follow:
        time.sleep(FOLLOW_S)
        for log in every.found():
            if name in (None, log.name):
                show(log.name, log.new())


def default_hooks() -> tuple[Command, ...]:
    """What makes empty parts ready for the services; a broker of one's own gets the topics of production."""
    profile = "production" if External.from_env().kafka else "local"
    return (
        Command("migrate", (*ROOT_CLI, "migrate")),
        Command("topics", (*ROOT_CLI, "topics", "apply", "--profile", profile)),
    )


def _plainly(_: str, lines: Iterable[str]) -> None:
    for line in lines:
        typer.echo(line)


def _prefixing(width: int) -> Callable[[str, Iterable[str]], None]:
    console, colours = Console(), dict[str, str]()

    def show(name: str, lines: Iterable[str]) -> None:
        colour = colours.setdefault(name, LOG_COLOURS[len(colours) % len(LOG_COLOURS)])
        for line in lines:
            console.print(Text.assemble((f"{name:<{width}} | ", colour), line), soft_wrap=True)

    return show


@contextmanager
def _told(console: Console) -> Iterator[None]:
    """Tell a person what went wrong instead of showing a traceback."""
    try:
        yield
    except (StackError, OSError) as error:
        fault = of_system("stack", error) if isinstance(error, OSError) else error
        console.print(f"[red]✗ {fault.part}[/]: ", end="")
        console.print(f"{fault.why}\n{fault.remedy}", markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(1) from error
    except KeyboardInterrupt as error:
        console.print("Given up; nothing was left running.")
        raise typer.Exit(130) from error


def _fetch_jars(console: Console) -> None:
    columns = (SpinnerColumn(), TextColumn("fetching Kafka"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("jars", total=None, visible=False)
        class_path(progress=lambda done, total: progress.update(task, completed=done, total=total, visible=True))


def _start(console: Console, settings: StackSettings) -> StackState:
    began = time.monotonic()
    told: set[str] = set()
    with console.status("starting") as spinner:

        def show(state: StackState) -> None:
            for name, part in state.parts.items():
                if part.state in ("ready", "external") and name not in told:
                    told.add(name)
                    took_s = time.monotonic() - began
                    address = without_password(part.address)
                    console.print(
                        f"[green]✓[/] {name:<10}{address}  [dim]{took_s:.1f} s[/]", soft_wrap=True, highlight=False
                    )
            waiting = ", ".join(name for name, part in state.parts.items() if name not in told)
            spinner.update(f"{state.doing} {f'({waiting})' if waiting else ''}")

        return launch.start_and_wait(settings, show)


def _table(state: StackState) -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in ("part", "pid", "state", "restarts", "address", "memory"):
        table.add_column(
            heading, justify="right" if heading in ("pid", "restarts", "memory") else "left", overflow="fold"
        )
    for name, part in state.parts.items():
        shown = _seen(part)
        memory = resident_bytes(part.process) if part.process else None
        table.add_row(
            name,
            str(part.pid or ""),
            f"[{STATE_COLOURS.get(shown, 'dim')}]{shown}[/]",
            str(part.restarts),
            without_password(part.address),
            f"{memory / 1e6:.0f} MB" if memory is not None else "",
        )
    return table


def _seen(part: PartState) -> str:
    """The recorded state, unless the process has gone meanwhile."""
    return "gone" if part.process is not None and not alive(part.process) else part.state


def _summary(state: StackState) -> str:
    if state.owned:
        return state.doing or f"The stack is {state.phase}."
    left = [name for name, part in state.parts.items() if part.living]
    if left:
        return f"The supervisor has died; {', '.join(left)} still run. `twintally stack up` or `down` clears them away."
    return "The stack could not start." if state.phase == "failed" else "The stack is stopped."


def without_password(address: str) -> str:
    """An address as it may be shown."""
    scheme, separator, rest = address.partition("://")
    user, at, host = rest.rpartition("@")
    return f"{scheme}{separator}{user.partition(':')[0]}{at}{host}"
