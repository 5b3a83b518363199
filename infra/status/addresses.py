"""Where the processes of the services are: as they were given, else from the environment, else the local stack's."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from infra.local.services import SERVICES
from infra.local.state import read_state
from shared.setting_types import ServiceUrl

Addresses = Mapping[str, tuple[str, ...]]

_URL: TypeAdapter[str] = TypeAdapter(ServiceUrl)
# A second process of a service has its number behind its name: matching-2.
_NUMBER = re.compile(r"-\d+$")


def addresses_of(environment: Mapping[str, str], local: Addresses, given: Iterable[str] = ()) -> Addresses:
    """The addresses of each service's processes; ValueError names what is wrong.

    `given` holds texts like `matching=http://127.0.0.1:8003`; variables like TWINTALLY_URL_MATCHING hold one or more,
    separated by commas.
    """
    told = _told(given)
    found = {}
    for service in SERVICES:
        variable = f"TWINTALLY_URL_{service.upper()}"
        from_environment = _urls(environment.get(variable, ""), variable)
        if several := told.get(service) or from_environment or local.get(service, ()):
            found[service] = tuple(several)
    return found


def local_addresses(directory: Path) -> Addresses:
    """The processes of the stack in a directory, while something runs it; none otherwise."""
    state = read_state(directory)
    if state is None or not state.owned:
        return {}
    found: dict[str, tuple[str, ...]] = {}
    for name in (name for name in state.parts if name in state.ports):
        service = name if name in SERVICES else _NUMBER.sub("", name)
        if service in SERVICES:
            found[service] = (*found.get(service, ()), f"http://127.0.0.1:{state.ports[name]}")
    return found


def local_kafka(directory: Path) -> str | None:
    """The broker of that stack."""
    state = read_state(directory)
    return state.kafka or None if state is not None and state.owned else None


def _told(given: Iterable[str]) -> dict[str, tuple[str, ...]]:
    told: dict[str, tuple[str, ...]] = {}
    for text in given:
        service, _, address = text.partition("=")
        if service not in SERVICES:
            raise ValueError(f"--at {text}: must be SERVICE=ADDRESS; the services are {', '.join(SERVICES)}")
        told[service] = (*told.get(service, ()), *_urls(address, f"--at {service}"))
    return told


def _urls(text: str, name: str) -> tuple[str, ...]:
    try:
        return tuple(_URL.validate_python(each.strip()) for each in text.split(",") if each.strip())
    except ValidationError as error:
        why = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise ValueError(f"{name}: {why}; got {text!r}") from error
