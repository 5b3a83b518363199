"""The services of Twintally as the local stack runs them, and the environment each is given."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, urlsplit, urlunsplit


@dataclass(frozen=True)
class Service:
    """One process of a service; without `argv` it is `python -m services.NAME`.

    `beside` names the service that this process is one more of: it shares that one's schema and consumer group.
    """

    name: str
    argv: tuple[str, ...] = ()
    has_schema: bool = True
    beside: str = ""

    @property
    def service(self) -> str:
        """The service that it is, or is one more of."""
        return self.beside or self.name

    @property
    def command(self) -> tuple[str, ...]:
        """What starts it."""
        return self.argv or (sys.executable, "-m", f"services.{self.service}")


@dataclass(frozen=True)
class Command:
    """Something that is run once, in order, before the services start (`twintally migrate`, for one)."""

    name: str
    argv: tuple[str, ...]


# In the order of the story; they start in it and stop in reverse.
SERVICES: Mapping[str, Service] = {
    service.name: service
    for service in (
        Service("intake"),
        Service("registry"),
        Service("matching"),
        Service("judging"),
        Service("alerts"),
        Service("royalty"),
        Service("console", has_schema=False),
        Service("exporter", (sys.executable, "-m", "infra.exporter"), has_schema=False),
    )
}

ROLE_KINDS = ("worker", "api")


@dataclass(frozen=True)
class Addresses:
    """Where everything of one stack is."""

    directory: Path
    kafka: str
    database: str
    redis: str
    service_ports: Mapping[str, int]
    secret_key: str = field(repr=False)
    kafka_options: Mapping[str, str] = field(default_factory=dict, repr=False)
    passwords: Mapping[str, str] = field(default_factory=dict, repr=False)


def second(name: str) -> Service:
    """One more process of a service of the table."""
    return Service(f"{name}-2", has_schema=SERVICES[name].has_schema, beside=name)


def roles() -> tuple[str, ...]:
    """Every database role the services use."""
    return tuple(f"{service.name}_{kind}" for service in SERVICES.values() if service.has_schema for kind in ROLE_KINDS)


def as_role(database: str, role: str, password: str | None) -> str:
    """The owner's address with another user, and that user's password or none."""
    parts = urlsplit(database)
    host = parts.netloc.rpartition("@")[2]
    user = quote(role, safe="") + (f":{quote(password, safe='')}" if password else "")
    return urlunsplit(parts._replace(netloc=f"{user}@{host}"))


def env_for(service: Service, at: Addresses) -> dict[str, str]:
    """What this service finds in its environment; never the database owner's address."""
    env = {
        **at.kafka_options,
        "TWINTALLY_KAFKA": at.kafka,
        "TWINTALLY_REDIS": at.redis,
        "TWINTALLY_STORE": (at.directory / "store").as_uri(),
        "TWINTALLY_INDEX_FOLDER": str(at.directory / "index"),
        "TWINTALLY_SECRET_KEY": at.secret_key,
        **{f"TWINTALLY_URL_{name.upper()}": f"http://127.0.0.1:{at.service_ports[name]}" for name in SERVICES},
    }
    if service.name in at.service_ports:
        env["TWINTALLY_HTTP_PORT"] = str(at.service_ports[service.name])
    if service.has_schema:
        for kind in ROLE_KINDS:
            role = f"{service.service}_{kind}"
            env[f"TWINTALLY_DATABASE_{kind.upper()}"] = as_role(at.database, role, at.passwords.get(role))
    return env
