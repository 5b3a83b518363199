"""A disk that is full where the logs lie stops nobody's work."""

import subprocess
import sys
from pathlib import Path

import pytest

WORK = """
import os
from shared.logs import configure_logs, get_log
configure_logs("matching")
for _ in range(100):
    get_log().info("use_judged", use_id="u1")
try:
    raise ConnectionError("no database")
except ConnectionError:
    get_log().critical("leaving_unconfirmed", exc_info=True)
    os._exit(70)
"""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, which Linux has")
def test_a_line_that_cannot_be_written_is_lost_and_the_work_goes_on(project: Path) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            (sys.executable, "-c", WORK), stdout=full, stderr=subprocess.PIPE, cwd=project, text=True, check=False
        )
    assert "No space left on device" in done.stderr
    assert done.returncode == 70
