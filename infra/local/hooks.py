"""Runs the commands that stand between the parts and the services."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Mapping
from pathlib import Path

from infra.local.faults import GivenUpError, StackError, of_system, tail
from infra.local.processes import POLL_S
from infra.local.services import Command

HOOK_TIMEOUT_S = 600.0
TAIL_LINES = 15


def run_hook(hook: Command, env: Mapping[str, str], logs: Path, cancelled: threading.Event) -> None:
    """Run one command to its end, its output in `logs/NAME.log`; raises StackError when it fails or takes too long."""
    log_path = logs / f"{hook.name}.log"
    logs.mkdir(parents=True, exist_ok=True)
    try:
        with log_path.open("wb") as log:
            process = subprocess.Popen(  # noqa: S603
                hook.argv,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
    except OSError as error:
        raise of_system(hook.name, error) from error
    why = _outcome(process, hook.name, cancelled)
    if why is not None:
        shown = "\n".join(f"  | {line}" for line in tail(log_path, TAIL_LINES))
        raise StackError(hook.name, f"{why}\n{shown}", f"Its whole log is {log_path}", str(log_path))


def _outcome(process: subprocess.Popen[bytes], name: str, cancelled: threading.Event) -> str | None:
    deadline = time.monotonic() + HOOK_TIMEOUT_S
    try:
        while (code := process.poll()) is None:
            if cancelled.is_set():
                raise GivenUpError(name, "it was given up.", "Start again.")
            if time.monotonic() > deadline:
                return f"it took longer than {HOOK_TIMEOUT_S:g} s."
            cancelled.wait(POLL_S)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    return None if code == 0 else f"it ended with {code}."
