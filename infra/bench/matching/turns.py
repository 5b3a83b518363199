"""A searcher as a process of its own: asked by lines of JSON, one thread, its processor time told by stage.

Standard library only: the peer runs it in an environment where nothing of ours is installed.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

T = TypeVar("T")

# Whoever computes with these libraries gets one thread of each.
LIBRARIES = ("OMP", "OPENBLAS", "MKL", "NUMBA", "OPENCV")
ONE_THREAD = {f"{library}_NUM_THREADS": "1" for library in LIBRARIES}


class Stages:
    """Processor milliseconds of this process by stage, of one query."""

    def __init__(self) -> None:
        self.ms: dict[str, float] = {}

    def timed(self, stage: str, work: Callable[[], T]) -> T:
        """The result of the work, whose time is kept under the stage."""
        began = time.process_time()
        result = work()
        self.add(stage, time.process_time() - began)
        return result

    def add(self, stage: str, seconds: float) -> None:
        """Keep time that was taken elsewhere."""
        self.ms[stage] = self.ms.get(stage, 0.0) + seconds * 1000


class Searcher(Protocol):
    """What is compared."""

    def register(self, paths: Sequence[Path]) -> int:
        """Take these references; returns how many can be found."""

    def search(self, path: Path, stages: Stages) -> list[str]:
        """The names of the references that a file shows."""


@dataclass(frozen=True)
class Searched:
    """One query: all its processor time, its parts, and what was found."""

    ms: float
    stages: dict[str, float]
    found: list[str]


def serve(searcher: Searcher) -> None:
    """Answer on standard output until standard input ends."""
    # Whatever a library prints goes with the errors: standard output carries answers.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    for line in sys.stdin:
        asked = json.loads(line)
        told: Any
        if "register" in asked:
            told = searcher.register([Path(path) for path in asked["register"]])
        else:
            told = [asdict(_search(searcher, Path(path))) for path in asked["search"]]
        answers.write(json.dumps(told) + "\n")
        answers.flush()


def _search(searcher: Searcher, path: Path) -> Searched:
    stages, began = Stages(), time.process_time()
    found = searcher.search(path, stages)
    return Searched((time.process_time() - began) * 1000, stages.ms, found)


class EndedError(Exception):
    """A searcher stopped before it answered; what it said stands above."""


class Seat:
    """A searcher's process, from outside. While it is not asked it waits for a line and takes no processor time."""

    def __init__(self, name: str, python: Path, module: str) -> None:
        self.name = name
        self._process = subprocess.Popen(  # noqa: S603 - our own module
            [str(python), "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **ONE_THREAD},
            text=True,
        )

    def begin(self, **asked: object) -> None:
        """Ask something; `end` waits for the answer."""
        if self._process.stdin is None:
            raise EndedError(self.name)
        try:
            self._process.stdin.write(json.dumps(asked) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise EndedError(self.name) from None

    def end(self) -> Any:
        """The answer to what was asked."""
        line = self._process.stdout.readline() if self._process.stdout else ""
        if not line:
            raise EndedError(self.name)
        return json.loads(line)

    def search(self, paths: Sequence[Path]) -> list[Searched]:
        """Search these files."""
        self.begin(search=[str(path) for path in paths])
        return [Searched(**each) for each in self.end()]

    def close(self) -> None:
        """Let it go."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                # One that has ended takes no last word.
                with suppress(BrokenPipeError):
                    pipe.close()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
