"""A part goes away under running services: their health says so in words, and they recover alone."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2
import pytest

from infra.local.stack import Stack
from tests.conftest import HOOKS
from tests.system.conftest import bootstrap
from tests.system.world import Collector, ImageHost, Receiver, World, eventually

SERVICES = ("intake", "registry", "matching", "judging", "alerts", "royalty")


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Six services on parts of their own, which a test may take away."""
    with Stack.running(tmp_path_factory.mktemp("outages"), services=SERVICES, hooks=HOOKS) as running:
        yield running


def readiness(house: Stack, service: str) -> tuple[int, dict[str, Any]]:
    answer = httpx2.get(f"{house.url(service)}/health/ready", timeout=5)
    return answer.status_code, answer.json()


def wait_for(
    house: Stack, what: Callable[[int, dict[str, Any]], bool], services: tuple[str, ...], within_s: float
) -> None:
    """Until the readiness of each service is so; AssertionError shows the last answers."""
    until = time.monotonic() + within_s
    while True:
        answers = {service: readiness(house, service) for service in services}
        if all(what(*answer) for answer in answers.values()):
            return
        assert time.monotonic() < until, answers
        time.sleep(0.2)


def is_ready(status: int, _checks: dict[str, Any]) -> bool:
    return status == 200


def restarts(house: Stack) -> dict[str, int]:
    return {service: house.part(service).restarts for service in SERVICES}


@contextmanager
def without(house: Stack, part: str) -> Iterator[None]:
    """A part is away inside the `with`, and back after it whatever happens."""
    house.stop(part)
    try:
        yield
    finally:
        house.start(part)


@pytest.mark.timeout(180)
def test_without_a_database_nobody_is_ready_and_everybody_comes_back_alone(house: Stack) -> None:
    with without(house, "postgres"):
        wait_for(house, lambda status, checks: status == 503 and "does not answer" in checks["database"], SERVICES, 20)
        assert all(httpx2.get(f"{house.url(name)}/health/live").status_code == 200 for name in SERVICES)
    wait_for(house, is_ready, SERVICES, 30)
    assert restarts(house) == dict.fromkeys(SERVICES, 0)


@pytest.mark.timeout(180)
def test_without_a_broker_readers_of_topics_are_not_ready_and_come_back_alone(house: Stack) -> None:
    readers = tuple(name for name in SERVICES if name != "registry")
    with without(house, "kafka"):
        wait_for(house, lambda status, checks: status == 503 and "is Kafka reachable?" in checks["access"], readers, 30)
        # Registry stores what it is told, and publishes it later.
        assert readiness(house, "registry")[0] == 200
    wait_for(house, is_ready, SERVICES, 60)
    assert restarts(house) == dict.fromkeys(SERVICES, 0)


@pytest.fixture
def world(house: Stack, tmp_path: Path) -> Iterator[World]:
    """The house with somebody who may ask intake."""
    with ImageHost.serving() as images, Receiver.serving() as receiver, Collector.serving() as collector:
        world = World(house, images, receiver, collector, bootstrap(house, tmp_path))
        yield world
        for client in world.clients.values():
            client.close()


def a_secret(world: World) -> str:
    """The secret of a platform that sends; waits until intake has heard of the operator's key."""
    address = f"{world.stack.url('intake')}/v1/platforms/outages"
    operator = {"Authorization": f"Bearer {world.operator_key}"}
    eventually(lambda: httpx2.put(address, headers=operator, timeout=5).status_code == 204)
    return str(world.call("intake", "POST", "/v1/platforms/outages/secrets")["secret"])


def sends(world: World, secret: str, post_id: str) -> tuple[int, str]:
    """The status of a signed webhook, and what became of its event."""
    event = {"type": "post.deleted", "post_id": post_id, "occurred_at": datetime.now(UTC).isoformat()}
    answer = world.send("outages", secret, event)
    return answer.status_code, answer.json()["results"][0]["outcome"]


def test_without_valkey_intake_goes_on_taking_in(house: Stack, world: World) -> None:
    wait_for(house, is_ready, ("intake",), 30)
    secret = a_secret(world)
    assert sends(world, secret, "before") == (202, "accepted")
    with without(house, "valkey"):
        assert sends(world, secret, "while") == (202, "accepted")
        assert readiness(house, "intake")[0] == 200
    assert sends(world, secret, "after") == (202, "accepted")
    assert restarts(house) == dict.fromkeys(SERVICES, 0)
