"""What every page of the console has, and what it shows when a part behind it is away."""

import re
from collections.abc import AsyncIterator, Iterator

import pytest

from shared.ids import digest_of
from tests.console_house import PUBLISHED
from tests.console_street import Behind, Street, a_street, furnished
from tests.console_visitor import Visitor, a_visitor, check_form, words_of

ROLES = ("agency", "talent", "brand", "finance", "operator")


@pytest.fixture(scope="module")
def street() -> Iterator[Street]:
    with a_street() as street:
        yield street


@pytest.fixture
async def visitor(street) -> AsyncIterator[Visitor]:
    async with a_visitor(street.let(furnished())) as visitor:
        yield visitor


@pytest.mark.parametrize(
    ("part", "path"),
    [("alerts", "/cases/use-1"), ("royalty", "/statements"), ("matching", f"/media/{digest_of(PUBLISHED)}")],
)
async def test_a_page_says_which_part_is_away(visitor, part, path):
    await visitor.sign_in()
    visitor.behind.stop(part)
    answer = await visitor.open(path)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "10")
    assert f"The part “{part}” is away" in words_of(answer.text)
    assert "Try again" in words_of(answer.text)


async def test_what_cannot_be_read_is_a_part_that_is_away(visitor):
    visitor.behind.cases.rows["use-1"]["opened_at"] = "never"
    await visitor.sign_in()
    assert "“alerts” is away" in await visitor.see("/cases/use-1", 503)


def paths_of(behind: Behind, role: str) -> list[str]:
    statements = [f"/statements/{view.statement_id}" for view in behind.reports.views if role == "finance"]
    cases = ["/cases", *(f"/cases/use-{number}" for number in (1, 2, 3, 4))] if role in ("agency", "operator") else []
    return ["/", "/sign-in", "/statements", "/statements?period=x", "/nothing", *cases, *statements]


@pytest.mark.parametrize("role", ROLES)
async def test_every_page_is_protected_and_well_built(visitor, role):
    await visitor.sign_in(role)
    for path in paths_of(visitor.behind, role):
        answer = await visitor.open(path)
        headers = answer.headers
        assert headers["content-security-policy"].startswith("default-src 'self'"), path
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"
        check_form(path, answer.text)


async def test_what_goes_wrong_on_our_side_is_a_page_too(visitor, monkeypatch):
    await visitor.sign_in()
    monkeypatch.setattr("services.console.cases.evidence_of", lambda case: 1 / 0)
    answer = await visitor.open("/cases/use-1")
    assert answer.status_code == 500
    assert "wrong on our side" in words_of(answer.text)
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]


async def test_static_files_are_kept_by_browsers_and_named_by_their_content(visitor):
    markup = (await visitor.open("/sign-in")).text
    for address in re.findall(r'(?:href|src)="(/static/[^"]+)"', markup):
        answer = await visitor.open(address)
        assert answer.status_code == 200
        assert "immutable" in answer.headers["cache-control"]
    assert (await visitor.open("/static/../settings.py")).status_code == 404
