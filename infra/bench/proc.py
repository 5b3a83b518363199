"""What processes spend and hold, from /proc: each with all its children."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

PROC = Path("/proc")
MB = 1024 * 1024


@dataclass(frozen=True)
class Times:
    """Of one line of `/proc/PID/stat`: the parent, and the ticks of the process and of its children that have ended."""

    parent: int
    ticks: int


@dataclass(frozen=True)
class Spent:
    """Processor seconds so far, by name; a name that was started anew meanwhile begins at 0 again."""

    seconds: Mapping[str, float]
    pids: Mapping[str, int]

    def until(self, later: "Spent") -> dict[str, float]:
        """What each spent from here to the later moment, for those that are the same process at both."""
        same = [name for name, pid in self.pids.items() if later.pids.get(name) == pid]
        return {name: later.seconds[name] - self.seconds[name] for name in same}


def parse_times(line: str) -> Times:
    """Read one line of `/proc/PID/stat`."""
    # The command's name may hold spaces and brackets: what counts starts after the last ")".
    fields = line[line.rindex(")") + 2 :].split()
    return Times(parent=int(fields[1]), ticks=sum(int(field) for field in fields[11:15]))


def spent(leaders: Mapping[str, int]) -> Spent:
    """The processor time of each leader's tree."""
    known = _all()
    tick_s = 1 / os.sysconf("SC_CLK_TCK")
    trees = trees_of(leaders, {pid: times.parent for pid, times in known.items()})
    seconds = {name: tick_s * sum(known[pid].ticks for pid in tree) for name, tree in trees.items()}
    return Spent(seconds, dict(leaders))


def held_mb(leaders: Mapping[str, int], kind: Literal["Pss", "Rss"]) -> dict[str, float]:
    """The memory of each leader's tree.

    Pss can be added up: a page that several processes share counts in parts. So it changes with what others start; Rss
    does not.
    """
    trees = trees_of(leaders, {pid: times.parent for pid, times in _all().items()})
    return {name: round(sum(_bytes(pid, kind) for pid in tree) / MB, 2) for name, tree in trees.items()}


def trees_of(leaders: Mapping[str, int], parents: Mapping[int, int]) -> dict[str, list[int]]:
    """Every leader that lives, with all that descend from it."""
    children: dict[int, list[int]] = {}
    for pid, parent in parents.items():
        children.setdefault(parent, []).append(pid)
    return {name: list(_down(pid, children)) for name, pid in leaders.items() if pid in parents}


def _down(pid: int, children: Mapping[int, list[int]]) -> Iterable[int]:
    yield pid
    for child in children.get(pid, ()):
        yield from _down(child, children)


def _all() -> dict[int, Times]:
    found = {}
    for entry in PROC.iterdir():
        if entry.name.isdigit():
            try:
                found[int(entry.name)] = parse_times((entry / "stat").read_text())
            except (OSError, ValueError):
                continue  # it has ended meanwhile
    return found


def _bytes(pid: int, kind: str) -> int:
    try:
        lines = (PROC / str(pid) / "smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{kind}:")), 0)
