"""Starts a supervisor in the background and follows it; stops it again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from infra.local.assembly import importable_env
from infra.local.crew import reclaim
from infra.local.faults import AlreadyRunningError, StackError, tail
from infra.local.processes import stop_all
from infra.local.settings import StackSettings
from infra.local.state import StackState, is_owned, read_state
from infra.local.supervisor import PLAN

POLL_S = 0.1
# What the supervisor itself allows for everything it stops, and a little more.
STOP_LIMIT_S = 60.0
# Parts, hooks and services each have a limit of their own; this one only ends a wait that nothing else would.
START_LIMIT_S = 900.0


def start(settings: StackSettings) -> subprocess.Popen[bytes]:
    """Start a supervisor for this stack, detached from this terminal; raises StackError when one runs already."""
    directory = settings.directory.absolute()
    if is_owned(directory):
        why = f"a stack already runs in {directory}."
        raise AlreadyRunningError("stack", why, "Use it, stop it with `twintally stack down`, or choose another --dir.")
    (directory / "logs").mkdir(parents=True, exist_ok=True)
    settings.save(directory / PLAN)
    with (directory / "logs" / "supervisor.log").open("wb") as log:
        return subprocess.Popen(  # noqa: S603
            (sys.executable, "-m", "infra.local.supervisor", "--dir", str(directory)),
            env=importable_env(os.environ),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def follow(supervisor: subprocess.Popen[bytes], directory: Path) -> Iterator[StackState]:
    """Each new state until the stack is ready; raises StackError when it has failed."""
    deadline = time.monotonic() + START_LIMIT_S
    last: StackState | None = None
    while time.monotonic() < deadline:
        # Looked at before the state is read: what a dying supervisor wrote last is then not missed.
        code = supervisor.poll()
        state = read_state(directory)
        current = state if state is not None and state.owner is not None and state.owner.pid == supervisor.pid else None
        if current is not None and current != last:
            last = current
            yield current
        if code is not None:
            raise _failure(current, directory, code)
        if current is not None and current.phase == "ready":
            return
        time.sleep(POLL_S)
    raise StackError("stack", f"it was not ready within {START_LIMIT_S:g} s.", "Stop it with `twintally stack down`.")


def _failure(state: StackState | None, directory: Path, code: int) -> StackError:
    if state is not None and state.failure is not None:
        return StackError.from_json(state.failure)
    log = directory / "logs" / "supervisor.log"
    said = "\n".join(f"  | {line}" for line in tail(log, 15))
    return StackError("supervisor", f"it ended with {code}.\n{said}", f"Its whole log is {log}", str(log))


def start_and_wait(settings: StackSettings, each: Callable[[StackState], None] = lambda _: None) -> StackState:
    """Start a stack in the background and return when all of it is ready; `each` sees every new state on the way."""
    supervisor = start(settings)
    directory = settings.directory.absolute()
    state: StackState | None = None
    try:
        for state in follow(supervisor, directory):
            each(state)
    except BaseException:
        # A person's Ctrl-C, for one: nothing half-started is left behind.
        supervisor.terminate()
        supervisor.wait(STOP_LIMIT_S)
        raise
    # It outlives this process, and is not a forgotten child.
    supervisor.returncode = 0
    if state is None:
        raise StackError("stack", "its supervisor said nothing.", "Start again.")
    return state


def stop(directory: Path) -> list[str]:
    """Stop the stack in `directory`, whoever runs it, and what a dead supervisor left; the names of what ran."""
    directory = directory.absolute()
    state = read_state(directory)
    if state is None:
        return []
    running = [name for name, part in state.parts.items() if part.living]
    if state.owner is not None and state.owned and is_owned(directory):
        if state.owner.pid == os.getpid():
            raise StackError("stack", "this very process runs it.", "Call its down().")
        stop_all([(state.owner, signal.SIGTERM)], STOP_LIMIT_S)
    # Read anew: a supervisor that had to be killed may have started something meanwhile.
    reclaim((read_state(directory) or state).parts)
    return running
