"""The demo's own stack: real parts, all services, and what surrounds them, in `var/demo/stack`."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from infra.demo.house import DemoError, House
from infra.local import launch
from infra.local.assembly import importable_env
from infra.local.cli import default_hooks
from infra.local.kafka.jars import Progress, class_path
from infra.local.ports import HOST, choose_ports
from infra.local.services import SERVICES, Service, as_role
from infra.local.settings import External, StackSettings, named
from infra.local.state import StackState

SURROUNDINGS = "surroundings"
# The exporter watches; the story needs it not.
PLAYED = tuple(name for name in SERVICES if name != "exporter")


@dataclass(frozen=True)
class Folders:
    """Where the demo keeps what it makes."""

    root: Path

    @property
    def stack(self) -> Path:
        """The stack with all its data and logs."""
        return self.root / "stack"

    @property
    def references(self) -> Path:
        """The references that are registered."""
        return self.root / "references"

    @property
    def published(self) -> Path:
        """What the image hosts serve."""
        return self.root / "published"

    def empty(self) -> None:
        """Stop what an earlier demo left running, and forget it."""
        launch.stop(self.stack)
        for folder in (self.stack, self.references, self.published):
            shutil.rmtree(folder, ignore_errors=True)
        for folder in (self.references, self.published):
            folder.mkdir(parents=True)


@dataclass(frozen=True)
class Addresses:
    """Loopback ports of what surrounds the house; the only private addresses that it may call."""

    images: int
    stalling: int
    receiver: int

    @classmethod
    def free(cls) -> "Addresses":
        """Ports that nobody uses now."""
        return cls(**choose_ports(("images", "stalling", "receiver"), {}))

    @property
    def hosts(self) -> tuple[str, str]:
        """The prompt image host and the stalling one."""
        return f"http://{HOST}:{self.images}", f"http://{HOST}:{self.stalling}"


def plan(folders: Folders, at: Addresses) -> StackSettings:
    """What is started. The services may call exactly the hosts and the receiver of the demo, and nothing else here."""
    argv = (sys.executable, "-m", "infra.demo.surroundings", "--pictures", str(folders.published.absolute()))
    ports = (f"--images={at.images}", f"--stalling={at.stalling}", f"--receiver={at.receiver}")
    return StackSettings(
        directory=folders.stack,
        services=named((*PLAYED, Service(SURROUNDINGS, (*argv, *ports), has_schema=False))),
        hooks=default_hooks(),
        env={
            "TWINTALLY_MEDIA_ALLOWED_ADDRESSES": f"{HOST}:{at.images},{HOST}:{at.stalling}",
            "TWINTALLY_ALERTS_ALLOWED_ADDRESSES": f"{HOST}:{at.receiver}",
            # An image that never comes is given up within seconds, not within a day. Three tries reach beyond the ten
            # seconds for which a host is left alone: a busy machine loses no picture of the prompt one.
            "TWINTALLY_FETCH_ATTEMPTS_MAX": "3",
            "TWINTALLY_FETCH_LATER_S": "4",
        },
        # Always its own parts: what the truth counts must begin empty.
        external=External(),
    )


def fetch_parts(progress: Progress) -> None:
    """Have Kafka's jars, fetched once per user."""
    class_path(progress=progress)


@contextmanager
def house_in(folders: Folders, at: Addresses, state: StackState, *, keep: bool) -> Iterator[House]:
    """The running house with the first operator's key; afterwards everything is stopped, unless it shall be kept."""
    try:
        urls = {name: f"http://{HOST}:{port}" for name, port in state.ports.items()}
        house = House(
            urls=urls,
            operator_key=_bootstrap(state),
            control_url=urls[SURROUNDINGS],
            receiver_url=f"http://{HOST}:{at.receiver}",
        )
        yield house
        house.close()
    except BaseException:
        launch.stop(folders.stack)
        raise
    if not keep:
        launch.stop(folders.stack)


def _bootstrap(state: StackState) -> str:
    """The first operator's key, made as a person would."""
    env = {**os.environ, "TWINTALLY_DATABASE_WORKER": as_role(state.database, "registry_worker", None)}
    made = subprocess.run(
        (sys.executable, "-m", "infra.cli", "keys", "bootstrap"),
        env=importable_env(env),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    key = next((word for word in made.stdout.split() if word.startswith("twk_")), None)
    if key is None:
        raise DemoError(f"`twintally keys bootstrap` made no key: {made.stdout}{made.stderr}")
    return key
