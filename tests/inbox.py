"""Reads the files of intake's inbox."""

import json
from collections.abc import Iterator
from typing import Any


def webhooks_in(file: bytes) -> Iterator[tuple[dict[str, Any], bytes]]:
    """Of each webhook in a file what is said about it, and its body."""
    while file:
        line, _, file = file.partition(b"\n")
        about = json.loads(line)
        body, end = file[: about["body_bytes"]], file[about["body_bytes"] :][:1]
        assert end == b"\n"
        yield about, body
        file = file[len(body) + 1 :]
