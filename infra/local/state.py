"""`stack.json`: what a stack runs and where, for whoever comes after the process that started it."""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path
from typing import IO, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from infra.local.faults import AlreadyRunningError
from infra.local.processes import Identity, alive

Phase = Literal["starting", "ready", "failed", "stopping", "stopped"]
PartPhase = Literal["waiting", "starting", "ready", "restarting", "stopped", "external"]


class PartState(BaseModel):
    """One part as it was last seen."""

    model_config = ConfigDict(frozen=True)

    state: PartPhase
    address: str
    log: str | None = None
    pid: int | None = None
    born: str | None = None
    restarts: int = 0

    @property
    def process(self) -> Identity | None:
        """The recorded process."""
        return Identity(self.pid, self.born) if self.pid is not None and self.born is not None else None

    @property
    def living(self) -> Identity | None:
        """The recorded process, if it still lives."""
        return self.process if self.process is not None and alive(self.process) else None


class StackState(BaseModel):
    """Everything recorded of one stack."""

    model_config = ConfigDict(frozen=True)

    phase: Phase
    doing: str = ""
    owner: Identity | None = None
    kafka: str = ""
    database: str = ""
    redis: str = ""
    ports: dict[str, int] = {}
    parts: dict[str, PartState] = {}
    failure: dict[str, str | None] | None = None

    @property
    def owned(self) -> bool:
        """Whether the process that runs this stack lives."""
        return self.owner is not None and alive(self.owner)


def read_state(directory: Path) -> StackState | None:
    """The state of the stack in `directory`; None when there is none, or none that can be read."""
    try:
        return StackState.model_validate_json((directory / "stack.json").read_text())
    except (OSError, ValidationError):
        return None


def write_state(directory: Path, state: StackState) -> None:
    """Replace `stack.json` in one step; only its owner may read it, for an address may hold a password."""
    write_private(directory / "stack.json", state.model_dump_json(indent=1))


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner may read, whole or not at all."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    draft.replace(path)


def kept(path: Path, text: str) -> str:
    """What the file holds; `text` becomes its content when there is none yet."""
    if not path.exists():
        write_private(path, text)
    return path.read_text()


def kept_passwords(path: Path, roles: dict[str, str]) -> dict[str, str]:
    """Each role's password: the one in the file, else the new one, which is then kept."""
    known = json.loads(path.read_text()) if path.exists() else {}
    merged = {**roles, **known}
    if merged != known:
        write_private(path, json.dumps(merged))
    return merged


def own(directory: Path) -> IO[str]:
    """Take the directory for this process, until the returned file is closed; raises AlreadyRunningError."""
    directory.mkdir(parents=True, exist_ok=True)
    lock = (directory / ".lock").open("a")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        lock.close()
        why = f"a stack already runs in {directory}."
        raise AlreadyRunningError(
            "stack", why, "Use it, stop it with `twintally stack down`, or choose another --dir."
        ) from error
    return lock


def is_owned(directory: Path) -> bool:
    """Whether a living process runs a stack in this directory now."""
    try:
        own(directory).close()
    except AlreadyRunningError:
        return True
    return False
