"""The samples of docs/integrate-platform.md, run as they stand."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.system.world import World


def sample(project: Path, language: str) -> str:
    text = (project / "docs" / "integrate-platform.md").read_text()
    [code] = re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)
    return str(code)


@pytest.fixture(scope="module")
def environment(world: World) -> dict[str, str]:
    world.call("intake", "PUT", "/v1/platforms/samples")
    secret = world.call("intake", "POST", "/v1/platforms/samples/secrets")["secret"]
    address = world.stack.url("intake") + "/v1/platforms/samples/webhooks"
    return {**os.environ, "SECRET": secret, "ADDRESS": address}


def test_the_python_sample_is_accepted(project: Path, environment: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", sample(project, "python")],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    status, _, answer = done.stdout.partition(" ")
    assert status == "202"
    assert json.loads(answer)["results"][0]["outcome"] == "accepted"


def test_the_curl_sample_is_accepted(project: Path, environment: dict[str, str]) -> None:
    missing = [tool for tool in ("curl", "openssl") if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"needs the packages {', '.join(missing)}")
    done = subprocess.run(
        ["/bin/bash", "-c", sample(project, "bash")],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert json.loads(done.stdout)["results"][0]["outcome"] == "accepted"
