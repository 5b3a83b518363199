"""All the processes of one stack, looked after together."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from infra.local.faults import GivenUpError, StackError, of_system
from infra.local.processes import Identity, pause, send, stop_all
from infra.local.runner import Runner
from infra.local.state import PartState

TICK_S = 0.1


class Crew:
    """The runners of a stack. Thread-safe; `changed` is called after every change, with no promise about the thread."""

    def __init__(self, changed: Callable[[], None]) -> None:
        self._changed = changed
        self._lock = threading.RLock()
        self._runners: dict[str, Runner] = {}
        self._cancelled = threading.Event()
        self._watcher: threading.Thread | None = None
        # Until the first start is over, a part that keeps dying ends it; afterwards it is started again for ever.
        self.settled = False

    @property
    def cancelled(self) -> threading.Event:
        """Set when everything that waits should give up."""
        return self._cancelled

    def add(self, runner: Runner) -> None:
        """Take a part in; it is not started yet."""
        self._runners[runner.part.name] = runner

    def records(self) -> dict[str, PartState]:
        """Each part as it is now."""
        with self._lock:
            return {name: runner.record() for name, runner in self._runners.items()}

    def start_together(self, names: Sequence[str]) -> None:
        """Prepare and start these at once, and wait for all; raises the fault that came first."""
        if not names:
            return
        with ThreadPoolExecutor(max_workers=len(names)) as pool:
            faults = [fault for fault in pool.map(self._first_start, names) if fault is not None]
        # The others only gave up because of this one.
        faults.sort(key=lambda fault: isinstance(fault, GivenUpError))
        if faults:
            raise faults[0]

    def _first_start(self, name: str) -> StackError | None:
        part = self._runners[name].part
        try:
            part.prepare()
            self.start(name)
            part.settle()
        except (StackError, OSError) as error:
            self._cancelled.set()
            return error if isinstance(error, StackError) else of_system(name, error)
        return None

    def start(self, name: str) -> None:
        """Start one part, if it does not run, and wait until it is ready."""
        self.spawn(name)
        self.wait_ready(name)

    def spawn(self, name: str) -> None:
        """Start one part, if it does not run, and do not wait."""
        with self._lock:
            runner = self._runners[name]
            if runner.identity is None:
                runner.spawn()
        self._changed()

    def wait_ready(self, name: str, timeout_s: float | None = None, *, unlike: Identity | None = None) -> None:
        """Wait until a part is ready, as another process than `unlike`; raises StackError with the end of its log."""
        runner = self._runners[name]
        limit_s = timeout_s if timeout_s is not None else runner.part.start_timeout_s
        deadline = time.monotonic() + limit_s
        while not self._is_ready(runner) or runner.identity == unlike:
            if self._cancelled.is_set():
                raise GivenUpError(name, "its start was given up.", "Start again.")
            if time.monotonic() > deadline:
                raise runner.fault(f"it was not ready within {limit_s:g} s.")
            time.sleep(TICK_S)

    def _is_ready(self, runner: Runner) -> bool:
        with self._lock:
            changed = runner.tick()
            hopeless = None if self.settled else runner.hopeless()
        if changed:
            self._changed()
        if hopeless is not None:
            raise hopeless
        return runner.state == "ready"

    def stop(self, names: Sequence[str], grace_s: float) -> None:
        """Ask these to stop in reverse order, and kill what is left after `grace_s`; they stay down."""
        with self._lock:
            runners = [self._runners[name] for name in reversed(names)]
            for runner in runners:
                runner.release()
            stop_all([(r.identity, r.part.stop_signal) for r in runners if r.identity is not None], grace_s)
            for runner in runners:
                runner.finish()
        self._changed()

    def signal(self, name: str, number: signal.Signals) -> Identity:
        """Send a signal and do not wait; the process that got it."""
        with self._lock:
            identity = self._runners[name].identity
        if identity is None or not send(identity, number):
            raise StackError(name, "it does not run.", "Start it first.")
        return identity

    def pause(self, name: str) -> None:
        """Put it to sleep where it is; back when none of its threads runs."""
        with self._lock:
            identity = self._runners[name].identity
        if identity is None or not pause(identity):
            raise StackError(name, "it does not run, or does not stop running.", "Start it first.")

    def watch(self) -> None:
        """From now on, start again what dies."""
        self._watcher = threading.Thread(target=self._watch_loop, name="stack-watcher", daemon=True)
        self._watcher.start()

    def _watch_loop(self) -> None:
        while not self._cancelled.wait(TICK_S):
            with self._lock:
                changes = [runner.tick() for runner in self._runners.values() if runner.wanted]
            if any(changes):
                self._changed()

    def dismiss(self, tiers: Sequence[tuple[Sequence[str], float]]) -> None:
        """Give up what is under way and stop everything, tier by tier; each tier has its own grace."""
        self._cancelled.set()
        if self._watcher is not None:
            self._watcher.join()
            self._watcher = None
        for names, grace_s in tiers:
            self.stop([name for name in names if name in self._runners], grace_s)


def reclaim(recorded: dict[str, PartState], grace_s: float = 5.0) -> list[str]:
    """Stop what the dead owner of a stack left running, as `stack.json` records it; the names of those parts."""
    left = {name: process for name, part in recorded.items() if (process := part.living) is not None}
    # Nobody uses them any more, so there is no need for long farewells.
    stop_all(
        [(left[name], signal.SIGINT if name == "postgres" else signal.SIGTERM) for name in reversed(left)], grace_s
    )
    return list(left)
