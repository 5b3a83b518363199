"""The services behind the console as servers on loopback, furnished with cases and statements of every kind."""

import asyncio
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import uvicorn
from fastapi import FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send

from services.alerts.api import build_app as alerts_app
from services.matching.api import build_app as matching_app
from services.registry.api.app import Parts as RegistryParts
from services.registry.api.app import build_app as registry_app
from services.royalty.api import build_app as royalty_app
from shared.events import Reason
from shared.health import Health
from tests.console_house import (
    NOON,
    Keys,
    MemoryCases,
    MemoryRegistry,
    MemoryReports,
    Pictures,
    a_posting,
    an_infringement,
)


@dataclass
class Behind:
    """The services behind the console, by name; `addresses` are read anew for every request."""

    addresses: dict[str, str] = field(default_factory=dict)
    keys: Keys = field(default_factory=Keys)
    cases: MemoryCases = field(default_factory=MemoryCases)
    reports: MemoryReports = field(default_factory=MemoryReports)
    pictures: Pictures = field(default_factory=Pictures)
    registry: MemoryRegistry = field(default_factory=MemoryRegistry)
    apps: dict[str, FastAPI] = field(default_factory=dict)

    def __post_init__(self) -> None:
        parts: Any = self
        nothing: Any = None
        limits: Any = SimpleNamespace(image_bytes_max=10_000_000, body_bytes_max=1_000_000)
        registry = RegistryParts(parts.registry, nothing, parts.pictures, self.keys, nothing)
        self.apps = {
            "registry": registry_app(limits, registry),
            "matching": matching_app(parts.pictures, parts.pictures, self.keys),
            "judging": FastAPI(),
            "alerts": alerts_app(parts.cases, nothing, nothing, self.keys, overlap=timedelta(hours=1)),
            "royalty": royalty_app(self.reports, self.keys),
        }
        for app in self.apps.values():
            Health().add_pages(app)

    def stop(self, name: str) -> None:
        """Take a service away: nobody listens at its address."""
        self.addresses[name] = "http://127.0.0.1:1"


class Door:
    """A server on a free port of loopback, in a thread of its own; what is behind it can be changed."""

    def __init__(self) -> None:
        self.app: ASGIApp = FastAPI()
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        config = uvicorn.Config(
            self._pass_on, interface="asgi3", log_config=None, lifespan="off", timeout_graceful_shutdown=1
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    async def _pass_on(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app(scope, receive, send)

    def _run(self) -> None:
        asyncio.run(self._server.serve(sockets=[self._socket]))

    def close(self) -> None:
        self._server.should_exit = True
        self._thread.join(timeout=10)
        self._socket.close()


class Street:
    """Five doors; each test moves its own services in."""

    def __init__(self) -> None:
        self._doors = {name: Door() for name in ("registry", "matching", "judging", "alerts", "royalty")}

    def let(self, behind: Behind) -> Behind:
        """Move in."""
        for name, door in self._doors.items():
            door.app = behind.apps[name]
            behind.addresses[name] = door.address
        return behind

    def close(self) -> None:
        for door in self._doors.values():
            door.close()


@contextmanager
def a_street() -> Iterator[Street]:
    """Five doors, closed in the end."""
    street = Street()
    try:
        yield street
    finally:
        street.close()


def furnished(*, more_cases: Sequence[str] = ("use-2", "use-3", "use-4")) -> Behind:
    """With cases of every kind, and statements of everyone."""
    behind = Behind()
    behind.cases.add(an_infringement())
    twists: list[dict[str, Any]] = [
        {"verdict": "unlicensed", "brand_id": None, "license_id": None, "license_version": None},
        {"platform": "tiktok", "account": "a-very-long-account-name-that-somebody-made-up"},
        {"ended_at": NOON + timedelta(days=2), "sightings": (), "verdict": "unlicensed"},
    ]
    statuses = ("acknowledged", "held", "withdrawn")
    for number, (use, twist, status) in enumerate(zip(more_cases, twists, statuses, strict=False), start=1):
        reason = Reason(dimension="account", text="thief.in.the.night on instagram belongs to no known brand")
        given = {"reasons": (reason,), "account": "thief.in.the.night", **twist}
        behind.cases.add(an_infringement(use, **given), status=status, opened_at=NOON - timedelta(days=number))
    first = a_posting(-120_000)
    behind.reports.add(
        first,
        a_posting(
            120_000, number=2, line="reversal", corrects=first.transaction_id, usage_revision=2, trace=first.trace
        ),
        a_posting(-96_050, number=3, usage_revision=2, trace=first.trace),
        a_posting(-27_400, number=4),
    )
    behind.reports.add(a_posting(-1_500, account="payable:agency:a1", currency="JPY"), status="closed")
    behind.reports.add(a_posting(1_234_567, account="receivable:brand:b1", currency="KWD"))
    behind.reports.add(a_posting(-400, account="payable:agency:a1", period="2026-10"), status="closed")
    return behind
