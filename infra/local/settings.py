"""What a stack is asked to be."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Self

from infra.local.services import SERVICES, Command, Service
from infra.local.state import write_private

DEFAULT_DIRECTORY = Path("var/stack")


@dataclass(frozen=True)
class External:
    """Parts that exist already: an address that is given is used as it is, and that part is not started."""

    kafka: str | None = None
    database: str | None = field(default=None, repr=False)
    redis: str | None = field(default=None, repr=False)
    kafka_options: Mapping[str, str] = field(default_factory=dict, repr=False)

    @classmethod
    def from_env(cls, env: Mapping[str, str] = os.environ) -> Self:
        """From TWINTALLY_KAFKA (with TWINTALLY_KAFKA_* for TLS and SASL), TWINTALLY_DATABASE and TWINTALLY_REDIS."""
        kafka = env.get("TWINTALLY_KAFKA") or None
        options = {name: value for name, value in env.items() if name.startswith("TWINTALLY_KAFKA_")}
        return cls(
            kafka=kafka,
            database=env.get("TWINTALLY_DATABASE") or None,
            redis=env.get("TWINTALLY_REDIS") or None,
            # A local broker speaks plain text: options meant for another one would only lock the services out.
            kafka_options=options if kafka else {},
        )


@dataclass(frozen=True)
class StackSettings:
    """One stack. `env` is added to every hook's and service's environment; `revive` starts again what dies.

    `before` names a port of this machine for a part (kafka, postgres, valkey): who stands there passes on to the part's
    own port, the one in `ports`, and every hook and service speaks to the part through it.
    """

    directory: Path = DEFAULT_DIRECTORY
    services: tuple[Service, ...] = ()
    hooks: tuple[Command, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    external: External = field(default_factory=External.from_env)
    revive: bool = True
    before: Mapping[str, int] = field(default_factory=dict)
    ports: Mapping[str, int] = field(default_factory=dict)

    def save(self, path: Path) -> None:
        """Keep them for the supervisor; its owner alone may read them."""
        write_private(path, json.dumps({**asdict(self), "directory": str(self.directory)}))

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote."""
        raw = json.loads(path.read_text())
        return cls(
            directory=Path(raw["directory"]),
            services=tuple(Service(**{**each, "argv": tuple(each["argv"])}) for each in raw["services"]),
            hooks=tuple(Command(each["name"], tuple(each["argv"])) for each in raw["hooks"]),
            env=raw["env"],
            external=External(**raw["external"]),
            revive=raw["revive"],
            before=raw["before"],
            ports=raw["ports"],
        )


def named(services: tuple[str | Service, ...]) -> tuple[Service, ...]:
    """Services by name, in the order of the table; ones of the caller's own stay behind them."""
    unknown = [each for each in services if isinstance(each, str) and each not in SERVICES]
    if unknown:
        raise ValueError(f"no service is named {', '.join(map(str, unknown))}; there are {', '.join(SERVICES)}")
    own = tuple(each for each in services if isinstance(each, Service))
    return (*(service for name, service in SERVICES.items() if name in services), *own)
