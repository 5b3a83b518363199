"""The bench's own stack: the whole house in `var/bench/stack`, what surrounds it, and everyone registered."""

import os
import secrets
import shutil
import subprocess
import sys
from base64 import b64encode
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import httpx2
import psycopg

from infra.bench.backlog import Lookout
from infra.bench.cast import PLATFORM, bench_cast
from infra.bench.drawing import draw_all
from infra.bench.sizes import Sizes
from infra.demo import setting
from infra.demo.house import DemoError, House, wait_for
from infra.demo.play import Steps
from infra.local import launch
from infra.local.assembly import importable_env
from infra.local.cli import default_hooks
from infra.local.kafka.jars import class_path
from infra.local.ports import HOST, choose_ports
from infra.local.services import SERVICES, Service
from infra.local.settings import External
from infra.local.stack import Stack

OUTSIDE, BARE = "outside", "bare"
PARTS = ("kafka", "postgres", "valkey")
READY_S = 90.0
# Matching takes tens of milliseconds for each reference that it learns, the more the more it knows.
INDEX_S = 600.0
ALLOWED = ("TWINTALLY_MEDIA_ALLOWED_ADDRESSES", "TWINTALLY_ALERTS_ALLOWED_ADDRESSES")


@dataclass(frozen=True)
class Folders:
    """Where the bench keeps what it makes."""

    root: Path

    @property
    def stack(self) -> Path:
        """The stack; of it the logs stay."""
        return self.root / "stack"

    @property
    def references(self) -> Path:
        """Drawn once, used again."""
        return self.root / "pictures" / "references"

    @property
    def published(self) -> Path:
        """Drawn once, used again; what the image host serves."""
        return self.root / "pictures" / "published"


@dataclass
class Bench:
    """The running house and what the phases need of it."""

    sizes: Sizes
    stack: Stack
    house: House
    lookout: Lookout
    steps: Steps
    outside_url: str
    bare_secret: str

    @property
    def door(self) -> str:
        """Where the platform's webhooks go."""
        return f"{self.house.urls['intake']}/v1/platforms/{PLATFORM}/webhooks"

    @property
    def secret(self) -> str:
        """What signs them."""
        return self.house.secrets[PLATFORM]

    def leaders(self, names: tuple[str, ...] = (*PARTS, *SERVICES)) -> dict[str, int]:
        """The process of each of these that runs."""
        found = {name: self.stack.part(name).pid for name in names}
        return {name: pid for name, pid in found.items() if pid is not None}

    def received_at(self, prefix: str) -> dict[str, float]:
        """When the first attempt of the alert of each post with this prefix came to the receiver."""
        told: dict[str, float] = self.house.http.get(
            f"{self.house.control_url}/received", params={"prefix": prefix}
        ).json()
        return told


def extra(number: int) -> str:
    """The name of one more matching process, from 2 on."""
    return f"matching-{number}"


@contextmanager
def bench_in(folders: Folders, sizes: Sizes, steps: Steps) -> Iterator[Bench]:
    """Draw, start, register; everything is stopped afterwards, and of the stack only its logs stay."""
    launch.stop(folders.stack)
    shutil.rmtree(folders.stack, ignore_errors=True)
    with steps.step("drawing the pictures that are not there yet") as step:
        draw_all(sizes, folders.references, folders.published, step)
    with steps.step("having Kafka at hand") as step:
        class_path(progress=step)
    try:
        with _stack_in(folders, sizes, steps) as bench:
            yield bench
    finally:
        _keep_logs_only(folders.stack)


@contextmanager
def _stack_in(folders: Folders, sizes: Sizes, steps: Steps) -> Iterator[Bench]:
    port = choose_ports((OUTSIDE,), {})[OUTSIDE]
    bare_secret = "whsec_" + b64encode(secrets.token_bytes(32)).decode()
    services: tuple[str | Service, ...] = (*SERVICES, *_own_services(folders, sizes, port, bare_secret))
    env = dict.fromkeys(ALLOWED, f"{HOST}:{port}")
    with ExitStack() as stopped:
        with steps.step("starting Kafka, PostgreSQL, Valkey and the services"):
            # Always its own parts: what is counted must begin empty.
            running = Stack.running(
                folders.stack, services=services, hooks=default_hooks(), env=env, external=External()
            )
            stack = stopped.enter_context(running)
            _settle(stack)
        lookout = Lookout(stack)
        stopped.callback(lookout.close)
        house = House(
            urls={each.name: stack.url(each.name) for each in stack.settings.services},
            operator_key=_bootstrap(stack),
            control_url=stack.url(OUTSIDE),
            receiver_url=f"http://{HOST}:{port}/alerts",
        )
        stopped.callback(house.close)
        _register(house, folders, sizes, steps)
        yield Bench(sizes, stack, house, lookout, steps, f"http://{HOST}:{port}", bare_secret)


def _own_services(folders: Folders, sizes: Sizes, port: int, bare_secret: str) -> tuple[Service, ...]:
    outside = (sys.executable, "-m", "infra.bench.outside", f"--port={port}")
    own = [
        Service(OUTSIDE, (*outside, f"--pictures={folders.published.absolute()}"), has_schema=False),
        Service(BARE, (sys.executable, "-m", "infra.bench.bare", f"--secret={bare_secret}"), has_schema=False),
    ]
    most = max(sizes.workers, default=1) if "workers" in sizes.phases else 1
    return (*own, *(Service(extra(number), beside="matching") for number in range(2, most + 1)))


def _settle(stack: Stack) -> None:
    """Stop what only single phases need, and have PostgreSQL keep commit times, for which it must start anew."""
    for service in stack.settings.services:
        if service.beside or service.name == BARE:
            stack.stop(service.name)
    with psycopg.connect(stack.database, autocommit=True) as connection:
        connection.execute("alter system set track_commit_timestamp = on")
    stack.restart("postgres")
    wait_ready(stack, tuple(SERVICES))


def wait_ready(stack: Stack, names: tuple[str, ...]) -> None:
    """Wait until each of these says that it is ready; DemoError names those that do not."""

    def unready() -> list[str]:
        return [name for name in names if not _is_ready(stack.url(name))]

    wait_for(lambda: not unready(), within_s=READY_S, otherwise=lambda: f"not ready: {', '.join(unready())}")


def _is_ready(url: str) -> bool:
    with suppress(httpx2.HTTPError):
        return httpx2.get(f"{url}/health/ready", timeout=2).is_success
    return False


def _register(house: House, folders: Folders, sizes: Sizes, steps: Steps) -> None:
    cast = bench_cast(sizes.references, datetime.now(UTC).replace(microsecond=0))
    with steps.step("registering agencies, a brand, talents, twins and consents"):
        setting.set_parties(house, cast)
    with steps.step(f"registering {sizes.references} references, and having them in the index") as step:
        setting.set_references(house, cast, folders.references, step, index_s=INDEX_S)
    with steps.step("granting licenses, naming endpoints"):
        setting.set_licenses(house, cast)
        setting.set_endpoints(house, cast)


def _bootstrap(stack: Stack) -> str:
    """The first operator's key, made as a person would."""
    made = subprocess.run(
        (sys.executable, "-m", "infra.cli", "keys", "bootstrap"),
        env=importable_env({**os.environ, **stack.env_for("registry")}),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    key = next((word for word in made.stdout.split() if word.startswith("twk_")), None)
    if key is None:
        raise DemoError(f"`twintally keys bootstrap` made no key: {made.stdout}{made.stderr}")
    return key


def _keep_logs_only(stack: Path) -> None:
    for entry in stack.iterdir() if stack.is_dir() else ():
        if entry.is_dir() and entry.name != "logs":
            shutil.rmtree(entry, ignore_errors=True)
