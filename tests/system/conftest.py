"""The whole house running: every service as its own process on real parts. Nothing here imports a service."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from infra.local.stack import Stack
from tests.conftest import HOOKS
from tests.system.world import Collector, ImageHost, Receiver, World

SERVICES = ("intake", "registry", "matching", "judging", "alerts", "royalty", "exporter")


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """All services but the console, an image host, a receiver of alerts, one of spans, and the operator's key."""
    with ExitStack() as open_until_end:
        images = open_until_end.enter_context(ImageHost.serving())
        receiver = open_until_end.enter_context(Receiver.serving())
        collector = open_until_end.enter_context(Collector.serving())
        env = {
            "TWINTALLY_MEDIA_ALLOWED_ADDRESSES": images.address,
            "TWINTALLY_ALERTS_ALLOWED_ADDRESSES": receiver.address,
            "TWINTALLY_OTLP_ENDPOINT": f"http://{collector.address}",
            # Spans leave at once, not every 5 s.
            "OTEL_BSP_SCHEDULE_DELAY": "200",
        }
        folder = tmp_path_factory.mktemp("world")
        stack = open_until_end.enter_context(Stack.running(folder, services=SERVICES, hooks=HOOKS, env=env))
        key = bootstrap(stack, folder)
        world = World(stack=stack, images=images, receiver=receiver, collector=collector, operator_key=key)
        yield world
        for client in world.clients.values():
            client.close()


def bootstrap(stack: Stack, folder: Path) -> str:
    """The first operator's key, as a person would make it."""
    made = subprocess.run(
        [sys.executable, "-m", "infra.cli", "keys", "bootstrap"],
        env={**os.environ, **stack.env_for("registry"), "COLUMNS": "200"},
        cwd=Path(__file__).parent.parent.parent,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert made.returncode == 0, made.stdout + made.stderr
    return next(word for word in made.stdout.split() if word.startswith("twk_"))
