"""Content Credentials of one file after the other, in a process of its own: `python credentials.py FD`.

The parser can neither be interrupted nor trusted to end soon, so it reads strangers' bytes where the kernel ends it.
Imports the standard library and c2pa-python only: the process starts fast and knows no setting of ours.
"""

import contextlib
import io
import json
import math
import resource
import signal
import sys
import time
from collections.abc import Mapping
from multiprocessing.connection import Connection
from typing import Any

import c2pa

CPU_S_MAX = 2
MEMORY_BYTES_MAX = 1024**3
READY = b"ready"


def read_credentials(image: bytes, media_type: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The state that the library found and the manifest store, or its `error`; nothing when there is no manifest."""
    try:
        context = c2pa.Context(settings=c2pa.Settings.from_dict(dict(settings)))
        reader = c2pa.Reader.try_create(media_type, io.BytesIO(image), None, context)
        if reader is None:
            return {}
        with reader:
            return {"state": reader.get_validation_state(), "source_type": _source_type(json.loads(reader.json()))}
    except Exception as error:  # whatever a stranger's file provokes in the library decides about this field alone
        return {"error": f"{type(error).__name__}: {error}"[:300], "elsewhere": _is_elsewhere(error)}


def _is_elsewhere(error: Exception) -> bool:
    # A manifest elsewhere is none that anybody could check, and a format without manifests has none.
    return str(error).startswith(("Remote", "NotSupported"))


def _source_type(store: dict[str, Any]) -> str | None:
    """The digitalSourceType of the actions in the active manifest: of the first that has one."""
    manifest = store["manifests"][store["active_manifest"]]
    for assertion in manifest.get("assertions", ()):
        if str(assertion.get("label", "")).startswith("c2pa.actions"):
            for action in assertion["data"].get("actions", ()):
                told = action.get("digitalSourceType")
                if isinstance(told, str) and told.strip():
                    return told
    return None


def main(end: Connection) -> None:
    """Answer until the other side is gone."""
    # It ends with the other side: a signal to all of a service must not look like what a file did.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _limit(resource.RLIMIT_DATA, MEMORY_BYTES_MAX)
    end.send_bytes(READY)
    with contextlib.suppress(EOFError):
        while True:
            asked = json.loads(end.recv_bytes())
            image = end.recv_bytes()
            # By processor time: a file must not be called broken because the machine is busy.
            _limit(resource.RLIMIT_CPU, math.ceil(time.process_time()) + CPU_S_MAX)
            end.send_bytes(json.dumps(read_credentials(image, **asked)).encode())


def _limit(what: int, most: int) -> None:
    hard = resource.getrlimit(what)[1]
    resource.setrlimit(what, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))


if __name__ == "__main__":
    main(Connection(int(sys.argv[1])))
