"""Processes as the stack knows them: by pid and birth, so that a reused pid is never taken for ours."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

PROC = Path("/proc")
POLL_S = 0.05
KILL_WAIT_S = 10.0
PAUSE_POLL_S = 0.005
PAUSE_WAIT_S = 10.0


@dataclass(frozen=True)
class Identity:
    """One process for ever: `born` names the boot and the clock tick at which it started."""

    pid: int
    born: str


@dataclass(frozen=True)
class ProcessStat:
    """What is read of `/proc/PID/stat`."""

    state: str
    group: int
    threads: int
    started_ticks: int

    @property
    def dead(self) -> bool:
        """Dead and only not yet reaped; a process whose first thread has ended before the others is not."""
        return self.state in "ZX" and self.threads <= 1


def parse_stat(text: str) -> ProcessStat:
    """Read one line of `/proc/PID/stat`."""
    # The command's name may hold spaces and brackets: what counts starts after the last ")".
    fields = text[text.rindex(")") + 2 :].split()
    return ProcessStat(state=fields[0], group=int(fields[2]), threads=int(fields[17]), started_ticks=int(fields[19]))


def _stat(pid: int) -> ProcessStat | None:
    try:
        return parse_stat((PROC / str(pid) / "stat").read_text())
    except (OSError, ValueError):
        return None


@cache
def _boot() -> str:
    try:
        return (PROC / "sys/kernel/random/boot_id").read_text().strip()[:8]
    except OSError:
        return "boot"


def identify(pid: int) -> Identity | None:
    """The process that has this pid now; None when there is none, or it is dead and only waits to be reaped."""
    stat = _stat(pid)
    if stat is None or stat.dead:
        return None
    return Identity(pid, f"{_boot()}/{stat.started_ticks}")


def alive(process: Identity) -> bool:
    """Whether this very process still runs."""
    return identify(process.pid) == process


def group_of(leader: Identity) -> list[Identity]:
    """All that live in the process group of a living leader, the leader included."""
    if not alive(leader):
        return []
    pids = [int(entry.name) for entry in PROC.iterdir() if entry.name.isdigit()]
    grouped = (pid for pid in pids if (stat := _stat(pid)) is not None and stat.group == leader.pid)
    return [process for pid in grouped if (process := identify(pid)) is not None]


def send(process: Identity, number: signal.Signals) -> bool:
    """Signal this very process; False when it is gone."""
    if not alive(process):
        return False
    with suppress(ProcessLookupError):
        os.kill(process.pid, number)
        return True
    return False


def pause(process: Identity, timeout_s: float = PAUSE_WAIT_S) -> bool:
    """Stop this very process where it is, and wait until none of its threads runs; False if it is gone or runs on."""
    if not send(process, signal.SIGSTOP):
        return False
    # The kernel tells the threads one after the other: for some milliseconds a busy server may still answer.
    deadline = time.monotonic() + timeout_s
    while not (asleep := _asleep(process.pid)) and alive(process) and time.monotonic() < deadline:
        time.sleep(PAUSE_POLL_S)
    return asleep


def _asleep(pid: int) -> bool:
    """Whether every thread of a process is stopped."""
    try:
        states = [parse_stat((task / "stat").read_text()).state for task in (PROC / str(pid) / "task").iterdir()]
    except (OSError, ValueError):
        return False
    return bool(states) and set(states) <= {"T", "t"}


def wait_gone(processes: Iterable[Identity], timeout_s: float) -> list[Identity]:
    """Wait until none of them lives; the ones that still do after `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    left = [process for process in processes if alive(process)]
    while left and time.monotonic() < deadline:
        time.sleep(POLL_S)
        left = [process for process in left if alive(process)]
    return left


def stop_all(leaders: Iterable[tuple[Identity, signal.Signals]], grace_s: float) -> list[Identity]:
    """Ask each leader to stop, in order; after `grace_s` kill what is left of their groups; who survived even that."""
    asked = list(leaders)
    members = [member for leader, _ in asked for member in group_of(leader)]
    for leader, number in asked:
        send(leader, number)
    wait_gone((leader for leader, _ in asked), grace_s)
    late = [member for leader, _ in asked for member in group_of(leader)]
    for member in {*members, *late}:
        send(member, signal.SIGKILL)
    return wait_gone({*members, *late}, KILL_WAIT_S)


def resident_bytes(process: Identity) -> int | None:
    """The memory a process holds in RAM, shared pages included; None when it is gone."""
    if not alive(process):
        return None
    try:
        pages = int((PROC / str(process.pid) / "statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")
