"""What a person is told when a part of the local stack cannot be had."""

from __future__ import annotations

import errno
from collections import deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass
class StackError(Exception):
    """Names the part, why it cannot be had and what to do; `log` is the file that tells more."""

    part: str
    why: str
    remedy: str
    log: str | None = None

    def __str__(self) -> str:
        return f"{self.part}: {self.why}\n{self.remedy}"

    def to_json(self) -> dict[str, str | None]:
        """The fault as it is kept in `stack.json`."""
        return asdict(self)

    @classmethod
    def from_json(cls, kept: Mapping[str, str | None]) -> StackError:
        """Read what `to_json` wrote."""
        return StackError(kept["part"] or "", kept["why"] or "", kept["remedy"] or "", kept["log"])


class GivenUpError(StackError):
    """A start that ended because something else had failed, or somebody asked for it."""


class AlreadyRunningError(StackError):
    """Another process already runs a stack in this directory."""


def of_system(part: str, error: OSError) -> StackError:
    """The fault behind an error of the operating system while `part` was made ready."""
    where = f" ({error.filename})" if error.filename else ""
    match error.errno:
        case errno.ENOSPC | errno.EDQUOT:
            remedy = "Free some space on this disk, or choose another directory with --dir."
        case errno.EACCES | errno.EPERM | errno.EROFS:
            remedy = "Choose a directory that you may write to with --dir."
        case errno.EADDRINUSE:
            remedy = "Another program took the port; start again to get a new one."
        case _:
            remedy = "Put this right and start again."
    return StackError(part, f"{error.strerror or error}{where}", remedy)


def last_words(error: Exception) -> str:
    """What a tool that was run said at its end, over a few lines; of a `subprocess` error."""
    said = str(getattr(error, "stderr", None) or getattr(error, "stdout", None) or error)
    return "\n".join(f"  | {line}" for line in said.strip().splitlines()[-6:])


def tail(path: Path, lines: int) -> list[str]:
    """The last lines of a log; none when there is no such file."""
    try:
        with path.open(encoding="utf-8", errors="replace") as log:
            return [line.rstrip("\n") for line in deque(log, maxlen=lines)]
    except OSError:
        return []
