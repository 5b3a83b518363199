"""docker-compose.yml says what the services really read."""

import importlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from infra.local.services import SERVICES, Addresses, env_for, second
from shared.settings import Settings

PASSWORDS = {
    "TWINTALLY_SECRET_KEY": "k",
    "TWINTALLY_OWNER_PASSWORD": "o",
    "TWINTALLY_WORKER_PASSWORD": "w",
    "TWINTALLY_API_PASSWORD": "a",
}


@pytest.fixture(scope="module")
def composed(project: Path) -> dict[str, Any]:
    """The file as the real Compose understands it."""
    compose = Path(sys.executable).with_name("docker-compose")
    done = subprocess.run(
        [compose if compose.exists() else str(shutil.which("docker-compose")), "config"],
        cwd=project,
        env={**os.environ, **PASSWORDS},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = yaml.safe_load(done.stdout)["services"]
    return found


def settings_of(service: str) -> type[Settings]:
    home = "infra" if service == "exporter" else "services"
    module = importlib.import_module(f"{home}.{service}.settings")
    found: type[Settings] = getattr(module, f"{service.capitalize()}Settings")
    return found


def test_all_services_and_parts_are_composed_with_health_checks(composed: dict[str, Any]) -> None:
    assert set(composed) == {*SERVICES, "kafka", "postgres", "valkey", "migrate", "topics"}
    assert all("healthcheck" in composed[name] for name in {*SERVICES, "kafka", "postgres", "valkey"})


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_is_given_what_it_needs_and_nothing_it_does_not_read(composed: dict[str, Any], service: str) -> None:
    given = {name for name in composed[service]["environment"] if name.startswith("TWINTALLY_")}
    fields = settings_of(service).model_fields
    needed = {f"TWINTALLY_{name.upper()}" for name, field in fields.items() if field.is_required()}
    known = {f"TWINTALLY_{name.upper()}" for name in fields}
    assert needed <= given <= known


@pytest.mark.parametrize("service", SERVICES)
def test_the_local_stack_gives_a_service_what_it_needs(service: str) -> None:
    ports = {name: 15_000 + number for number, name in enumerate(SERVICES)}
    at = Addresses(Path("/d"), "k:1", "postgresql://postgres@h/t", "redis://h", ports, "secret")
    given = env_for(SERVICES[service], at)
    fields = settings_of(service).model_fields
    assert {f"TWINTALLY_{name.upper()}" for name, field in fields.items() if field.is_required()} <= set(given)


def test_the_index_outlives_its_container_and_the_user_of_the_image_may_write_there(
    composed: dict[str, Any], project: Path
) -> None:
    folder = Path(composed["matching"]["environment"]["TWINTALLY_INDEX_FOLDER"])
    volumes = {Path(volume["target"]): volume["type"] for volume in composed["matching"]["volumes"]}
    [kept] = [target for target, kind in volumes.items() if kind == "volume" and folder.is_relative_to(target)]
    # A new volume takes its owner from what the image has there.
    made = re.search(r"install -d -o twintally (.+)", (project / "infra/docker/Dockerfile").read_text())
    assert made is not None
    assert str(kept) in made[1].split()


def test_the_local_stack_keeps_the_index_of_all_matching_workers_in_one_folder_of_its_own() -> None:
    ports = {name: 15_000 + number for number, name in enumerate(SERVICES)}
    at = Addresses(Path("/d"), "k:1", "postgresql://postgres@h/t", "redis://h", ports, "secret")
    folders = {env_for(each, at)["TWINTALLY_INDEX_FOLDER"] for each in (SERVICES["matching"], second("matching"))}
    assert folders == {"/d/index"}


def test_no_service_runs_as_root_and_none_is_open_to_the_network(composed: dict[str, Any], project: Path) -> None:
    assert "\nUSER twintally\n" in (project / "infra/docker/Dockerfile").read_text()
    for service in SERVICES:
        assert {port["host_ip"] for port in composed[service]["ports"]} == {"127.0.0.1"}
