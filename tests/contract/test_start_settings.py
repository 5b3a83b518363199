"""Every service stops at once on a missing or malformed setting, and says which, what it got, and an example."""

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet

from infra.local.services import SERVICES, Addresses, env_for
from shared.settings import Settings
from tests.contract.test_deployment import settings_of

SECRET = "TOP-SECRET"
STARTED_WITHIN_S = 30

# What is malformed in each setting; of one that is not named here, a word where a number belongs.
MALFORMED = {
    "kafka": "kafka://broker:9092",
    "kafka_security_protocol": "TLS",
    "kafka_ca_file": "/nowhere/ca.pem",
    "kafka_sasl_mechanism": "MD5",
    "database_worker": f"postgresql://u:{SECRET}@h:port/d",
    "database_api": f"mysql://u:{SECRET}@h/d",
    "redis": f"cache:{SECRET}",
    "secret_key": f"{Fernet.generate_key().decode()},{SECRET}",
    "store": "/srv/store",
    "media_allowed_addresses": "localhost:8099",
    "alerts_allowed_addresses": "127.0.0.1:8098,10.0.0.1",
    "http_host": "not a host",
    "log_level": "LOUD",
    "royalty_time_zone": "Mars/Olympus",
    "royalty_first_period": "2026-13",
    **{f"url_{name}": "http://service:port" for name in SERVICES},
}
# Any text is one; that they are there when they are needed is tested of their type.
ANY_TEXT = {"kafka_username", "kafka_password"}


def sound(service: str, folder: Path) -> dict[str, str]:
    """An environment with all that a service needs, of which nothing answers."""
    ports = dict.fromkeys(SERVICES, 1)
    key = Fernet.generate_key().decode()
    at = Addresses(folder, "127.0.0.1:1", "postgresql://postgres@127.0.0.1:1/t", "redis://127.0.0.1:1", ports, key)
    return env_for(SERVICES[service], at)


def started(service: str, env: dict[str, str], **options: Any) -> "subprocess.Popen[str]":
    clean = {name: value for name, value in os.environ.items() if not name.startswith("TWINTALLY_")}
    return subprocess.Popen(SERVICES[service].command, env={**clean, **env}, text=True, **options)


def refusal_of(service: str, env: dict[str, str]) -> str:
    """What a service says that does not start."""
    process = started(service, env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        said, _ = process.communicate(timeout=STARTED_WITHIN_S)
    finally:
        process.kill()
    assert process.returncode == 78, said
    assert "Traceback" not in said
    return said


def fields_of(service: str) -> list[str]:
    return list(settings_of(service).model_fields)


def malformed(name: str) -> str:
    return MALFORMED.get(name, "many")


def assert_named(said: str, name: str, settings: type[Settings]) -> None:
    variable = f"TWINTALLY_{name.upper()}"
    [line] = [line for line in said.splitlines() if line.strip().startswith(f"{variable}: ")]
    assert re.search(rf"; got .+; example: {variable}=.+", line), line
    if "SecretStr" in str(settings.model_fields[name].annotation):
        assert "got a value that is not shown;" in line
    else:
        assert f"got {malformed(name)!r};" in line


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_names_every_setting_that_is_missing(service: str) -> None:
    said = refusal_of(service, {})
    for name, field in settings_of(service).model_fields.items():
        variable = f"TWINTALLY_{name.upper()}"
        assert (f"{variable}: must be set; got nothing; example: {variable}=" in said) == field.is_required(), name


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_names_every_setting_that_is_malformed(service: str) -> None:
    names = [name for name in fields_of(service) if name not in ANY_TEXT]
    said = refusal_of(service, {f"TWINTALLY_{name.upper()}": malformed(name) for name in names})
    assert SECRET not in said
    for name in names:
        assert_named(said, name, settings_of(service))


@pytest.mark.parametrize(
    ("service", "name"),
    [(service, name) for service in SERVICES for name in fields_of(service) if name not in ANY_TEXT],
)
def test_one_malformed_setting_is_named_alone(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    service: str,
    name: str,
) -> None:
    for variable, value in {**sound(service, tmp_path), f"TWINTALLY_{name.upper()}": malformed(name)}.items():
        monkeypatch.setenv(variable, value)
    with pytest.raises(SystemExit):
        settings_of(service).from_environment()
    said = capsys.readouterr().err
    assert len(said.splitlines()) == 2, said
    assert_named(said, name, settings_of(service))


@pytest.mark.parametrize("service", SERVICES)
def test_every_setting_has_an_example(service: str) -> None:
    assert [name for name, field in settings_of(service).model_fields.items() if not field.examples] == []


@pytest.mark.parametrize(
    ("service", "setting"), [("matching", "MEDIA_ALLOWED_ADDRESSES"), ("alerts", "ALERTS_ALLOWED_ADDRESSES")]
)
def test_addresses_that_are_let_through_are_shown_in_the_first_line_of_the_log(
    tmp_path: Path, service: str, setting: str
) -> None:
    env = {**sound(service, tmp_path), f"TWINTALLY_{setting}": "127.0.0.1:8099,[::1]:8098"}
    process = started(service, env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        assert process.stdout is not None
        first = json.loads(process.stdout.readline())
    finally:
        process.kill()
        process.communicate()
    assert first["event"] == "settings"
    assert first[setting.lower()] == "127.0.0.1:8099,[::1]:8098"
    assert env["TWINTALLY_DATABASE_WORKER"] not in str(first)
