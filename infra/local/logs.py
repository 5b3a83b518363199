"""The logs of a stack: their last lines, and what comes after them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from pathlib import Path


class Log:
    """One log, read from where it was left; one that shrank was begun anew."""

    def __init__(self, path: Path) -> None:
        self.name = path.stem
        self._path = path
        self._position = 0

    def last(self, count: int) -> list[str]:
        """The last lines as they are now, the unfinished one too; `new` goes on behind them."""
        return list(deque(self._lines(unfinished=True), maxlen=count))

    def new(self) -> Iterator[str]:
        """Whole lines that have come since."""
        return self._lines(unfinished=False)

    def _lines(self, *, unfinished: bool) -> Iterator[str]:
        try:
            with self._path.open("rb") as log:
                if self._path.stat().st_size < self._position:
                    self._position = 0
                log.seek(self._position)
                for line in log:
                    if not (line.endswith(b"\n") or unfinished):
                        return
                    self._position += len(line)
                    yield line.decode(errors="replace").rstrip("\r\n")
        except FileNotFoundError:
            return


class Logs:
    """All logs of a folder, also those that are begun later."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._logs: dict[str, Log] = {}

    def found(self) -> list[Log]:
        """Those that are there now, by name."""
        for path in self._folder.glob("*.log"):
            self._logs.setdefault(path.stem, Log(path))
        return [self._logs[name] for name in sorted(self._logs)]
