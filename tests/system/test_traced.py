"""One trace follows one post from the webhook to the ledger, and from the webhook to the agency's endpoint."""

import uuid
from contextlib import suppress
from functools import partial
from typing import Any

import pytest

from tests.system.pictures import cropped, jpeg
from tests.system.test_path import Agency, make_agency
from tests.system.world import Told, World, eventually

# The first test starts the house.
pytestmark = pytest.mark.timeout(240)

REQUEST = "POST /v1/platforms/{platform}/webhooks"


@pytest.fixture(scope="module")
def agency(world: World) -> Agency:
    return make_agency(world, seed=57)


def traced(world: World, agency: Agency, end: str, picture: bytes, **post: Any) -> dict[str, Told]:
    """The spans, by their names, of a post that is told now, once its trace has come to this end.

    A use that must be judged again, because the lookup data was not fresh, is not followed: then another post is told.
    """
    for _ in range(5):
        post_id = f"traced-{uuid.uuid4().hex}"
        agency.publish(post_id, picture, **post)
        with suppress(AssertionError):
            return eventually(partial(_trace, world, f"{agency.platform}:{post_id}", {REQUEST, end}), wait_s=15)
    raise AssertionError(f"of five posts, none was followed to {end!r}")


def _trace(world: World, key: str, names: set[str]) -> dict[str, Told]:
    """The spans of this post's trace, once they have these names."""
    ids = {span.trace_id for span in world.collector.named("process posts.v1", messaging__kafka__message__key=key)}
    found = {span.name: span for span in tuple(world.collector.spans) if span.trace_id in ids}
    # Each process exports by itself: what led to a span may come after it.
    known = {"", *(span.span_id for span in found.values())}
    whole = all(span.parent_id in known for span in found.values())
    return found if whole and names <= set(found) else {}


def chain(spans: dict[str, Told], name: str) -> list[tuple[str, str]]:
    """Service and name of a span and of all that led to it, from the first on."""
    by_id = {span.span_id: span for span in spans.values()}
    found = [spans[name]]
    while found[0].parent_id:
        found.insert(0, by_id[found[0].parent_id])
    return [(span.service, span.name) for span in found]


def test_one_trace_goes_from_the_webhook_to_the_ledger(world: World, agency: Agency) -> None:
    agency.license(territories=["DE"])
    spans = traced(world, agency, "process usage.v1", jpeg(cropped(agency.picture), 60))
    assert chain(spans, "process usage.v1") == [
        ("intake", REQUEST),
        ("matching", "process posts.v1"),
        ("judging", "process sightings.v1"),
        ("royalty", "process usage.v1"),
    ]
    assert spans[REQUEST].attributes["http.response.status_code"] == 202


def test_one_trace_goes_from_the_webhook_to_the_endpoint_of_the_agency(world: World, agency: Agency) -> None:
    spans = traced(world, agency, "deliver alert", jpeg(agency.picture, 70), account="nobody-we-know")
    assert chain(spans, "deliver alert")[-3:] == [
        ("judging", "process sightings.v1"),
        ("alerts", "process infringements.v1"),
        ("alerts", "deliver alert"),
    ]
    assert spans["deliver alert"].attributes["twintally.outcome"] == "delivered"


def test_who_only_watches_leaves_no_span(world: World) -> None:
    world.clients["matching"].get("/metrics").raise_for_status()
    paths = {str(span.attributes.get("url.path")) for span in tuple(world.collector.spans)}
    assert any(path.startswith("/v1/") for path in paths)
    assert not any(path.startswith(("/metrics", "/health")) for path in paths)
