"""Where the services of a running stack are, for commands that were given no address."""

from __future__ import annotations

from pathlib import Path

from infra.local.services import SERVICES, Addresses, env_for
from infra.local.settings import DEFAULT_DIRECTORY
from infra.local.state import kept_passwords, read_state


def env_of_running(service: str, directory: Path = DEFAULT_DIRECTORY) -> dict[str, str]:
    """What a service of the stack in this directory finds in its environment, no secrets; empty when none is ready."""
    state = read_state(directory)
    if state is None or state.phase != "ready" or not state.owned:
        return {}
    known = Addresses(
        directory=directory.absolute(),
        kafka=state.kafka,
        database=state.database,
        redis=state.redis,
        service_ports=state.ports,
        secret_key="",
        passwords=kept_passwords(directory / "passwords.json", {}),
    )
    return env_for(SERVICES[service], known)
