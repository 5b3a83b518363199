"""The samples of docs/integrate-platform.md, run as they stand."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.system.pictures import draw, jpeg
from tests.system.world import World


def samples(project: Path, language: str) -> list[str]:
    text = (project / "docs" / "integrate-platform.md").read_text()
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


@pytest.fixture(scope="module")
def environment(world: World) -> dict[str, str]:
    world.call("intake", "PUT", "/v1/platforms/samples")
    secret = world.call("intake", "POST", "/v1/platforms/samples/secrets")["secret"]
    address = world.stack.url("intake") + "/v1/platforms/samples/webhooks"
    return {**os.environ, "SECRET": secret, "ADDRESS": address}


def run_python(code: str, environment: dict[str, str], folder: Path) -> tuple[str, str]:
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    status, _, answer = done.stdout.partition(" ")
    return status, json.loads(answer)["results"][0]["outcome"]


def test_the_python_sample_is_accepted(project: Path, environment: dict[str, str], tmp_path: Path) -> None:
    whole, _ = samples(project, "python")
    assert run_python(whole, environment, tmp_path) == ("202", "accepted")


def test_the_python_sample_that_uploads_a_picture_is_accepted(
    project: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    tmp_path.joinpath("picture.jpg").write_bytes(jpeg(draw(7)))
    whole, upload = samples(project, "python")
    assert whole.count("body = ") == 1
    code = whole.replace("body = ", upload + "body = ")
    assert run_python(code, environment, tmp_path) == ("202", "accepted")


def test_the_curl_sample_is_accepted(project: Path, environment: dict[str, str]) -> None:
    missing = [tool for tool in ("curl", "openssl") if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"needs the packages {', '.join(missing)}")
    done = subprocess.run(
        ["/bin/bash", "-c", *samples(project, "bash")],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert json.loads(done.stdout)["results"][0]["outcome"] == "accepted"
