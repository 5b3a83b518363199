"""Plays the demo: starts the house, sets the scene, tells the story, waits for the truth."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from infra.demo import setting, telling, watching
from infra.demo.compare import differences
from infra.demo.gallery import draw_all, reference_path
from infra.demo.house import House
from infra.demo.outcome import Outcome
from infra.demo.sheet import Sight, write_sheet
from infra.demo.stage import PLAYED, Addresses, Folders, fetch_parts, house_in, plan
from infra.demo.truth import Truth, shows_a_twin, truth_of
from infra.local import launch
from infra.local.state import StackState

# Long enough for a host that stalls three times, and for a busy machine.
TRUTH_S = 90.0
LOOK_PAUSE_S = 1.0
STEADY_S = 1.5

Step = Callable[[int, int], None]


@dataclass(frozen=True)
class Played:
    """What came of it."""

    truth: Truth
    outcome: Outcome
    problems: list[str]


def play(folders: Folders, console: Console, *, keep: bool) -> Played:
    """Play it once; everything is stopped afterwards, unless it shall be kept."""
    began = time.monotonic()
    # Whole seconds: how a moment is spelled never matters then.
    truth = truth_of(datetime.now(UTC).replace(microsecond=0))
    folders.empty()
    at = Addresses.free()
    with Steps(console) as steps:
        state = _start(folders, at, truth, steps)
        with house_in(folders, at, state, keep=keep) as house:
            _set(house, truth, folders, steps)
            outcome, problems = _tell(house, truth, at, steps)
            outcome = _show(house, truth, outcome, folders, steps)
            problems = problems or differences(truth, outcome)
            if keep:
                house.keys["finance"] = setting.new_key(house, "finance")
    outcome.save(folders.root / "outcome.json")
    telling.write_report(folders.root / "report.json", outcome, problems, time.monotonic() - began)
    telling.print_tables(console, truth, outcome)
    if keep:
        keys = {**telling.names_of_keys(truth.cast, house.keys), "operator": house.operator_key}
        urls = telling.services_of(state.ports, PLAYED)
        telling.print_addresses(console, urls, folders.stack, keys)
    return Played(truth, outcome, problems)


class Steps:
    """Progress of one long step after another, for people; a line each where no terminal is."""

    def __init__(self, console: Console) -> None:
        columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
        self._console = console
        self._progress = Progress(*columns, console=console, transient=True)

    def __enter__(self) -> "Steps":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    @contextmanager
    def step(self, text: str) -> Iterator[Step]:
        """Show a step while it lasts, then how long it took."""
        began = time.monotonic()
        task = self._progress.add_task(text, total=None)
        yield lambda done, total: self._progress.update(task, completed=done, total=total)
        self._progress.remove_task(task)
        took_s = time.monotonic() - began
        self._console.print(f"[green]✓[/] {text} [dim]{took_s:.1f} s[/]", highlight=False)


def _start(folders: Folders, at: Addresses, truth: Truth, steps: Steps) -> StackState:
    """Draw the pictures while the stack starts."""
    with steps.step("having Kafka at hand") as step:
        fetch_parts(step)
    with ThreadPoolExecutor(1) as beside, steps.step("drawing pictures") as drawn:
        drawing = beside.submit(draw_all, truth.pictures, folders.references, folders.published, drawn)
        with steps.step("starting Kafka, PostgreSQL, Valkey and the services") as step:

            def show(state: StackState) -> None:
                ready = sum(part.state == "ready" for part in state.parts.values())
                step(ready, len(state.parts))

            state = launch.start_and_wait(plan(folders, at), show)
        try:
            drawing.result()
        except BaseException:
            launch.stop(folders.stack)
            raise
    return state


def _set(house: House, truth: Truth, folders: Folders, steps: Steps) -> None:
    with steps.step("registering agencies, brands, talents, twins and consents"):
        setting.set_parties(house, truth.cast)
    with steps.step("registering references, and having them in the index") as step:
        setting.set_references(house, truth.cast, folders.references, step)
    with steps.step("granting licenses, naming endpoints"):
        setting.set_licenses(house, truth.cast)
        setting.set_endpoints(house, truth.cast)


def _tell(house: House, truth: Truth, at: Addresses, steps: Steps) -> tuple[Outcome, list[str]]:
    """Send every post, wait for what is true then; let a license come late and another end, wait again.

    The differences are those to the first truth: when there are any, there is nothing to go on with.
    """
    with steps.step("sending signed webhooks") as step:
        sent = watching.send_all(house, truth, at.hosts, step)
    with steps.step("waiting for verdicts, alerts and bookings") as step:
        found = _settled(house, truth, sent, step, at_last=False)
    problems = differences(truth, found, at_last=False)
    if problems:
        return found, problems
    with steps.step("a license arrives late, another is terminated") as step:
        setting.change_minds(house, truth)
        return _settled(house, truth, sent, step, at_last=True), []


def _settled(house: House, truth: Truth, sent: Counter[str], step: Step, *, at_last: bool) -> Outcome:
    """The outcome once it is the truth and stays so, or as it is when the time is over."""
    deadline, most = time.monotonic() + TRUTH_S, 1
    steady_since: float | None = None
    while True:
        looked_at = time.monotonic()
        found = watching.read_outcome(house, truth, sent, Outcome(now=truth.now))
        left = len(differences(truth, found, at_last=at_last))
        most = max(most, left)
        step(most - left, most)
        steady_since = (steady_since or looked_at) if left == 0 else None
        if (steady_since is not None and time.monotonic() - steady_since >= STEADY_S) or looked_at > deadline:
            return found
        time.sleep(LOOK_PAUSE_S)


def _show(house: House, truth: Truth, found: Outcome, folders: Folders, steps: Steps) -> Outcome:
    """Look at every sighting's image as matching keeps it, and lay them out beside their references."""
    with steps.step("laying out the contact sheet"):
        kept = watching.read_evidence(house, truth, folders.published)
        found = found.model_copy(update={"sighted": sorted(kept)})
        sheet = folders.root / "contact-sheet.html"
        write_sheet(_sights(truth, found, kept, folders), sheet, sheet.with_suffix(".png"))
    return found


def _sights(truth: Truth, found: Outcome, kept: dict[str, bytes], folders: Folders) -> list[Sight]:
    sights = {}
    for fact in truth.facts:
        for picture in fact.content.pictures if fact.content else ():
            if picture.name in kept and picture.twin is not None and shows_a_twin(picture):
                use = found.uses.get(f"{fact.platform}/{fact.post}/{picture.twin}")
                reference = reference_path(folders.references, picture.twin, picture.reference)
                sights[picture.name] = Sight(
                    published=kept[picture.name],
                    reference=reference.read_bytes(),
                    title=f"{picture.twin} in {fact.platform} {fact.post}",
                    edits=", ".join(picture.edits) or "as it is",
                    verdict=(use.verdict if use else None) or "none yet",
                    reasons=use.reasons if use else (),
                )
    return list(sights.values())
