"""Puts a stack together on paper: which parts, on which ports, with which environment."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.fernet import Fernet

import infra
from infra.local.kafka.broker import Kafka
from infra.local.parts import Part, ServicePart, Valkey
from infra.local.ports import choose_ports
from infra.local.postgres import Postgres
from infra.local.services import SERVICES, Addresses, env_for, roles
from infra.local.settings import StackSettings
from infra.local.state import PartState, kept, kept_passwords

# A service must not find these by accident in what it inherits.
OWNERS_ONLY = ("TWINTALLY_DATABASE", "TWINTALLY_ROLE_PASSWORDS")


@dataclass(frozen=True)
class Assembly:
    """A stack that is decided but not started."""

    parts: tuple[Part, ...]
    services: tuple[ServicePart, ...]
    outside: Mapping[str, PartState]
    ports: dict[str, int]
    addresses: Addresses
    base_env: dict[str, str] = field(repr=False)
    hook_env: dict[str, str] = field(repr=False)


def assemble(settings: StackSettings, directory: Path, ports_before: Mapping[str, int]) -> Assembly:
    """Choose ports, make secrets the first time, and give every service its environment."""
    names = tuple(dict.fromkeys((*SERVICES, *(service.name for service in settings.services))))
    ports = choose_ports(
        ("kafka", "kafka_controller", "postgres", "valkey", *names), {**ports_before, **settings.ports}
    )
    parts = _own_parts(settings, directory, ports)
    addresses = _addresses(
        settings, directory, _told(parts, ports, settings.before), {name: ports[name] for name in names}
    )
    base_env = _base_env()
    services = tuple(
        ServicePart(
            name=service.name,
            argv=service.command,
            port=ports[service.name],
            env={**env_for(service, addresses), **settings.env},
            cwd=Path.cwd(),
        )
        for service in settings.services
    )
    return Assembly(
        parts,
        services,
        _outside(settings),
        ports,
        addresses,
        base_env,
        {**base_env, **_hook_env(addresses), **settings.env},
    )


def _own_parts(settings: StackSettings, directory: Path, ports: Mapping[str, int]) -> tuple[Part, ...]:
    parts: list[Part] = []
    if settings.external.kafka is None:
        advertised = settings.before.get("kafka")
        parts.append(Kafka(directory / "kafka", ports["kafka"], ports["kafka_controller"], advertised))
    if settings.external.database is None:
        parts.append(Postgres(directory / "postgres", ports["postgres"]))
    if settings.external.redis is None:
        parts.append(Valkey(directory / "valkey", ports["valkey"]))
    return tuple(parts)


def _told(parts: tuple[Part, ...], ports: Mapping[str, int], before: Mapping[str, int]) -> dict[str, str]:
    """Where services find each part: itself, or who stands before it."""
    return {
        part.name: part.address.replace(f":{ports[part.name]}", f":{before.get(part.name, ports[part.name])}")
        for part in parts
    }


def _outside(settings: StackSettings) -> dict[str, PartState]:
    given = {
        "kafka": settings.external.kafka,
        "postgres": settings.external.database,
        "valkey": settings.external.redis,
    }
    return {
        name: PartState(state="external", address=address) for name, address in given.items() if address is not None
    }


def _addresses(
    settings: StackSettings, directory: Path, started: Mapping[str, str], service_ports: Mapping[str, int]
) -> Addresses:
    outside = settings.external
    passwords = {}
    if outside.database is not None:
        passwords = kept_passwords(directory / "passwords.json", {role: secrets.token_urlsafe(24) for role in roles()})
    return Addresses(
        directory=directory,
        kafka=outside.kafka or started["kafka"],
        database=outside.database or started["postgres"],
        redis=outside.redis or started["valkey"],
        service_ports=service_ports,
        secret_key=kept(directory / "secret.key", Fernet.generate_key().decode()),
        kafka_options=outside.kafka_options,
        passwords=passwords,
    )


def _hook_env(at: Addresses) -> dict[str, str]:
    env = {
        **at.kafka_options,
        "TWINTALLY_KAFKA": at.kafka,
        "TWINTALLY_DATABASE": at.database,
        "TWINTALLY_REDIS": at.redis,
        "TWINTALLY_SECRET_KEY": at.secret_key,
        "TWINTALLY_STORE": (at.directory / "store").as_uri(),
    }
    return {**env, "TWINTALLY_ROLE_PASSWORDS": json.dumps(dict(at.passwords))} if at.passwords else env


def _base_env() -> dict[str, str]:
    env = {name: value for name, value in os.environ.items() if name not in OWNERS_ONLY}
    return {**importable_env(env), "PYTHONUNBUFFERED": "1"}


def importable_env(env: Mapping[str, str]) -> dict[str, str]:
    """An environment in which a child finds this very code, also when it is a checkout that was never installed."""
    root = str(Path(next(iter(infra.__path__))).parent)
    if root.endswith("site-packages"):
        return dict(env)
    return {**env, "PYTHONPATH": os.pathsep.join(path for path in (root, env.get("PYTHONPATH")) if path)}
