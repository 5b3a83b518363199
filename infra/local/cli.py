"""`twintally stack`: the local stack from the command line."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from infra.local import launch
from infra.local.faults import StackError, of_system, tail
from infra.local.kafka.jars import class_path
from infra.local.processes import alive, resident_bytes
from infra.local.services import SERVICES, Command
from infra.local.settings import DEFAULT_DIRECTORY, External, StackSettings, named
from infra.local.state import PartState, StackState, read_state

FOLLOW_S = 0.3
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
    name: Annotated[str, typer.Argument(help="a part, a service, a hook, or supervisor")],
    directory: Directory = DEFAULT_DIRECTORY,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="go on as lines come")] = False,
    lines: Annotated[int, typer.Option("-n", "--lines", min=0, help="how many of the last lines")] = 50,
) -> None:
    """Show the log of one part or service."""
    path = directory / "logs" / f"{name}.log"
    if not path.is_file():
        known = ", ".join(sorted(log.stem for log in path.parent.glob("*.log"))) or "none yet"
        Console(stderr=True).print(f"There is no log named {name}. Logs here: {known}", highlight=False)
        raise typer.Exit(1)
    position = path.stat().st_size
    for line in tail(path, lines):
        typer.echo(line)
    while follow:
        position = _print_new(path, position)
        time.sleep(FOLLOW_S)


def default_hooks() -> tuple[Command, ...]:
    """What makes empty parts ready for the services; a broker of one's own gets the topics of production."""
    profile = "production" if External.from_env().kafka else "local"
    return (
        Command("migrate", (*ROOT_CLI, "migrate")),
        Command("topics", (*ROOT_CLI, "topics", "apply", "--profile", profile)),
    )


def _print_new(path: Path, position: int) -> int:
    size = path.stat().st_size if path.exists() else 0
    # A log that shrank was begun anew.
    start = position if size >= position else 0
    if size > start:
        with path.open("rb") as log:
            log.seek(start)
            typer.echo(log.read(size - start).decode(errors="replace"), nl=False)
    return size


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
