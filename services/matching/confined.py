"""The parser of Content Credentials at arm's length: a child process that is replaced when a file brings it down."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import weakref
from collections.abc import Mapping
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from services.matching import credentials

START_S_MAX = 30.0
# A belt, far above what the limit of processor time lets through on a busy machine.
ANSWER_S_MAX = 30.0
_ENVIRONMENT = ("PATH", "LD_LIBRARY_PATH")


class ReaderAway(ConnectionError):  # noqa: N818 - the state of a part of ours
    """The process cannot be started: a passing fault, never the fault of the file."""


class BroughtDownError(Exception):
    """A file ended the process that read it, or kept it too long."""


class KilledError(BroughtDownError):
    """The process was killed: by the machine that was out of memory, or by somebody, and perhaps before the file."""


class ConfinedReader:
    """`credentials.read_credentials` in a child process, one file at a time; it starts with the first file."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._child: _Child | None = None

    @property
    def pid(self) -> int | None:
        """Of the child, when there is one."""
        return None if self._child is None else self._child.pid

    def __call__(self, image: bytes, media_type: str, settings: Mapping[str, Any]) -> dict[str, Any]:
        """What the function returns. BroughtDownError when the file was too much for it, ReaderAway without a child."""
        asked = json.dumps({"media_type": media_type, "settings": settings}).encode()
        with self._lock:
            try:
                answer = self._answer(asked, image)
            except KilledError:
                # The second time it is the file: nothing may stop the stream for ever.
                answer = self._answer(asked, image)
        told: dict[str, Any] = json.loads(answer)
        return told

    def _answer(self, asked: bytes, image: bytes) -> bytes:
        child, self._child = self._child or _Child(), None
        try:
            answer = child.answer(asked, image)
        except BaseException:
            child.end()
            raise
        self._child = child
        return answer


class _Child:
    """One process and our end of its pipe."""

    def __init__(self) -> None:
        try:
            self._end, theirs = Pipe()
        except OSError as error:
            raise ReaderAway(f"the reader of credentials does not start: {error}") from error
        try:
            # Isolated, with nothing of our environment but search paths: the secrets there are none of its business.
            self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and file
                [sys.executable, "-I", str(Path(credentials.__file__)), str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                env={name: os.environ[name] for name in _ENVIRONMENT if name in os.environ},
            )
        except OSError as error:
            self._end.close()
            raise ReaderAway(f"the reader of credentials does not start: {error}") from error
        finally:
            theirs.close()
        self.end = weakref.finalize(self, _end, self._process, self._end)
        try:
            ready = self._end.poll(START_S_MAX) and self._end.recv_bytes() == credentials.READY
        except (EOFError, OSError):
            ready = False
        if not ready:
            self.end()
            raise ReaderAway(f"the reader of credentials ended with {self._process.returncode} at its start")

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    def answer(self, asked: bytes, image: bytes) -> bytes:
        try:
            self._end.send_bytes(asked)
            self._end.send_bytes(image)
            if not self._end.poll(ANSWER_S_MAX):
                raise BroughtDownError(f"no answer within {ANSWER_S_MAX:.0f} s")
            return self._end.recv_bytes()
        except (EOFError, OSError) as error:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(1.0)
            told = f"it ended the process with {self._process.returncode}"
            raise (KilledError if self._process.returncode == -signal.SIGKILL else BroughtDownError)(told) from error


def _end(process: subprocess.Popen[bytes], end: Connection) -> None:
    end.close()
    process.kill()
    process.wait()
