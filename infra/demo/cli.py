"""`twintally demo`: a job of real size on the whole house, checked against the truth."""

import signal
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer
from rich.console import Console

from infra.demo.compare import differences, with_one_verdict_flipped
from infra.demo.house import DemoError
from infra.demo.outcome import Outcome
from infra.demo.play import Played, play
from infra.demo.stage import Folders
from infra.demo.telling import print_differences
from infra.demo.truth import truth_of
from infra.local.faults import StackError

DEFAULT_FOLDER = Path("var/demo")


def demo(
    keep: Annotated[bool, typer.Option("--keep", help="leave everything running and print where")] = False,
    recorded: Annotated[bool, typer.Option("--recorded", help="compare the last outcome again, play nothing")] = False,
    flip_verdict: Annotated[bool, typer.Option("--flip-verdict", help="expect one wrong verdict")] = False,
    flip_cent: Annotated[bool, typer.Option("--flip-cent", help="expect a cent too much")] = False,
    folder: Annotated[Path, typer.Option("--dir", help="where the demo keeps what it makes")] = DEFAULT_FOLDER,
) -> None:
    """Play a job of real size on the whole house. Exit code 1, with the differences, unless the truth comes out."""
    console = Console()
    played = _recorded(folder, console) if recorded else _played(folder, console, keep=keep)
    truth = with_one_verdict_flipped(played.truth) if flip_verdict else played.truth
    problems = played.problems or differences(truth, played.outcome, cents=1 if flip_cent else 0)
    if problems:
        print_differences(console, problems)
        raise typer.Exit(1)
    console.print(f"[green]The outcome is the truth.[/] Look at {folder / 'contact-sheet.html'}", highlight=False)


def _recorded(folder: Path, console: Console) -> Played:
    path = folder / "outcome.json"
    if not path.is_file():
        console.print(f"There is no outcome in {path}; play the demo first: twintally demo", highlight=False)
        raise typer.Exit(1)
    outcome = Outcome.load(path)
    return Played(truth_of(outcome.now), outcome, [])


def _played(folder: Path, console: Console, *, keep: bool) -> Played:
    # A polite stop from outside stops what was started, as Ctrl-C does.
    signal.signal(signal.SIGTERM, _give_up)
    try:
        return play(Folders(folder), console, keep=keep)
    except (StackError, DemoError, OSError) as fault:
        console.print(f"[red]The demo could not be played.[/] {fault}", highlight=False, soft_wrap=True)
        console.print(f"What the services said: {folder / 'stack' / 'logs'}", highlight=False, soft_wrap=True)
        raise typer.Exit(1) from fault
    except KeyboardInterrupt as stop:
        console.print("Given up; nothing was left running.")
        raise typer.Exit(130) from stop


def _give_up(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    typer.run(demo)
