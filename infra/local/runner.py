"""Keeps the process of one part: starts it, sees it die, starts it again."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

from infra.local.backoff import Backoff
from infra.local.faults import StackError, of_system, tail
from infra.local.parts import Launch, Part
from infra.local.processes import KILL_WAIT_S, Identity, identify
from infra.local.state import PartPhase, PartState

LOG_BYTES_MAX = 20_000_000
TAIL_LINES = 15
SEARCHED_LINES = 60
# In the first start, so many deaths say that it will not come up.
EARLY_DEATHS_MAX = 4
REMEDIES = {
    "Address already in use": "Another program took its port: start again, and it gets a new one.",
    "No space left on device": "The disk is full: free some space, or choose another directory with --dir.",
    "Cannot allocate memory": "This machine has too little free memory: end other programs.",
    "Permission denied": "It may not use its files: choose another directory with --dir.",
}


class Runner:
    """One part and its process. Not thread-safe: the stack holds its lock around every call."""

    def __init__(self, part: Part, log: Path, base_env: dict[str, str]) -> None:
        self.part = part
        self.log = log
        self.wanted = False
        self.restarts = 0
        self.deaths = 0
        self.state: PartPhase = "waiting"
        self.identity: Identity | None = None
        self._base_env = base_env
        self._process: subprocess.Popen[bytes] | None = None
        self._backoff = Backoff()
        self._spawned_at = 0.0
        self._next_start_at: float | None = None

    def record(self) -> PartState:
        """What `stack.json` says of it."""
        pid, born = (self.identity.pid, self.identity.born) if self.identity else (None, None)
        return PartState(
            state=self.state, address=self.part.address, log=str(self.log), pid=pid, born=born, restarts=self.restarts
        )

    def spawn(self) -> None:
        """Start the process; raises StackError when that cannot even begin."""
        try:
            launch = self.part.launch()
            self._process = self._popen(launch)
        except OSError as error:
            raise of_system(self.part.name, error) from error
        self.wanted = True
        self.state = "starting"
        self.identity = identify(self._process.pid)
        self._spawned_at = time.monotonic()
        self._next_start_at = None

    def _popen(self, launch: Launch) -> subprocess.Popen[bytes]:
        self.log.parent.mkdir(parents=True, exist_ok=True)
        # Each `up` begins a new log: an old run's end would be taken for the cause of a new one's trouble.
        if self.log.exists() and (not self._spawned_at or self.log.stat().st_size > LOG_BYTES_MAX):
            self.log.replace(self.log.with_suffix(".log.1"))
        uid, gid = launch.user or (None, None)
        with self.log.open("ab") as log:
            return subprocess.Popen(  # noqa: S603
                launch.argv,
                cwd=launch.cwd,
                env={**self._base_env, **launch.env},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # Its own session: Ctrl-C in the terminal reaches only the one who then stops all in order.
                start_new_session=True,
                user=uid,
                group=gid,
                extra_groups=[] if uid is not None else None,
            )

    def reap(self) -> int | None:
        """The exit code when the process has died since the last look (its group is killed with it); else None."""
        if self._process is None:
            return None
        pid = self._process.pid
        # Looked at without reaping: as long as it is a zombie, nobody else can get its pid, nor its group's.
        with suppress(ChildProcessError):
            if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
                return None
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)
        code = self._process.wait()
        self._process = None
        self.identity = None
        self.state = "stopped"
        return code

    def finish(self) -> None:
        """Wait for the end of a process that was just stopped."""
        if self._process is not None and self._process.poll() is None:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(KILL_WAIT_S)
        self.reap()

    def tick(self) -> bool:
        """Look after the process once; True when something changed."""
        if (code := self.reap()) is not None:
            if self.wanted:
                self._plan_restart(code)
            return True
        if self._next_start_at is not None and time.monotonic() >= self._next_start_at:
            self._respawn()
            return True
        if self.state == "starting" and self._process is not None and self.part.ready():
            self.state = "ready"
            return True
        return False

    def _plan_restart(self, code: int) -> None:
        self.deaths += 1
        wait_s = self._backoff.wait_s(time.monotonic() - self._spawned_at)
        self._next_start_at = time.monotonic() + wait_s
        self.state = "restarting"
        self.note(f"{self.part.name} ended with {code}; starting it again in {wait_s:g} s")

    def _respawn(self) -> None:
        self.restarts += 1
        try:
            self.spawn()
        except StackError as fault:
            # A full disk, a jar that was tampered with: said in the log, and tried again, as for a death.
            self.note(str(fault))
            self._plan_restart(-1)

    def release(self) -> None:
        """From now on a death is what was asked for."""
        self.wanted = False
        self._next_start_at = None
        if self._process is None:
            self.state = "stopped"

    def note(self, text: str) -> None:
        """A line of the stack's own in this part's log."""
        with suppress(OSError), self.log.open("a") as log:
            log.write(f"[stack] {text}\n")

    def hopeless(self) -> StackError | None:
        """Why the first start has failed; None while there is hope."""
        if self.state == "ready" or self.deaths == 0:
            return None
        # A known cause does not go away by itself; any other may (a service that was faster than its neighbour).
        if self.deaths < EARLY_DEATHS_MAX and self._known_remedy() is None:
            return None
        return self.fault(f"it ended while it started (tries: {self.deaths}).")

    def fault(self, why: str) -> StackError:
        """A fault that shows the end of this part's log."""
        shown = "\n".join(f"  | {line}" for line in tail(self.log, TAIL_LINES))
        remedy = f"{self._known_remedy() or 'Read its log.'} Its whole log is {self.log}"
        return StackError(self.part.name, f"{why}\n{shown}" if shown else why, remedy, str(self.log))

    def _known_remedy(self) -> str | None:
        lines = tail(self.log, SEARCHED_LINES)
        return next((remedy for sign, remedy in REMEDIES.items() if any(sign in line for line in lines)), None)
