"""In and out of the console, and its first page."""

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.console_street import Street, a_street, furnished
from tests.console_visitor import Visitor, a_visitor, words_of


@pytest.fixture(scope="module")
def street() -> Iterator[Street]:
    with a_street() as street:
        yield street


@pytest.fixture
async def visitor(street) -> AsyncIterator[Visitor]:
    async with a_visitor(street.let(furnished())) as visitor:
        yield visitor


async def test_a_key_signs_in_and_leads_to_the_page_one_wanted(visitor):
    answer = await visitor.sign_in(next="/cases/use-1")
    assert (answer.status_code, answer.headers["location"]) == (303, "/cases/use-1")
    assert "Agency Nordlicht Models" in await visitor.see("/")


@pytest.mark.parametrize(
    ("key", "status", "told"),
    [
        ("wrong", 401, "not known"),
        ("twk_agency \u2603", 401, "not known"),
        ("a\r\nb", 401, "not known"),
        ("", 422, "Enter your API key"),
        ("twk_platform", 403, "has no pages here"),
    ],
)
async def test_a_key_that_opens_nothing_says_why(visitor, key, status, told):
    answer = await visitor.send("/sign-in", api_key=key, next="/cases")
    assert answer.status_code == status
    assert told in words_of(answer.text)
    assert "set-cookie" not in answer.headers
    assert 'value="/cases"' in answer.text
    assert not key or key not in answer.text


async def test_signing_in_leads_to_no_other_site(visitor):
    assert (await visitor.sign_in(next="//evil.example/")).headers["location"] == "/"


@pytest.mark.parametrize("origin", ["http://evil.example", "null", None])
@pytest.mark.parametrize("path", ["/sign-in", "/sign-out", "/cases/use-1/acknowledge"])
async def test_a_form_of_another_site_is_refused(visitor, origin, path):
    await visitor.sign_in()
    answer = await visitor.send(path, origin=origin, api_key="twk_agency")
    assert answer.status_code == 403
    assert "set-cookie" not in answer.headers
    assert visitor.behind.cases.rows["use-1"]["status"] == "open"


async def test_a_form_that_is_too_large_is_refused(visitor):
    assert (await visitor.send("/sign-in", api_key="k" * 40_000)).status_code == 413


async def test_who_signs_out_is_out(visitor):
    await visitor.sign_in()
    assert (await visitor.send("/sign-out")).headers["location"] == "/sign-in"
    assert (await visitor.open("/")).headers["location"] == "/sign-in"


async def test_a_page_for_people_inside_asks_to_sign_in_first(visitor):
    answer = await visitor.open("/cases?status=open")
    assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in?next=%2Fcases%3Fstatus%3Dopen")


async def test_who_follows_a_link_from_elsewhere_comes_again_with_the_cookie(visitor):
    answer = await visitor.open("/cases/use-1", **{"Sec-Fetch-Site": "cross-site"})
    assert '<meta http-equiv="refresh" content="0; url=/cases/use-1">' in answer.text


async def test_a_revoked_key_is_signed_out(visitor):
    await visitor.sign_in()
    visitor.behind.keys.revoked.add("twk_agency")
    answer = await visitor.open("/cases")
    assert answer.headers["location"] == "/sign-in?ended=true"
    assert "no longer known" in await visitor.see("/sign-in?ended=true")
    assert (await visitor.open("/cases")).headers["location"].startswith("/sign-in?next=")


async def test_a_service_that_has_not_read_the_keys_yet_signs_nobody_out(visitor):
    await visitor.sign_in()

    class NotReadYet:
        async def caller_of(self, api_key: str) -> None:
            return None

    visitor.behind.apps["alerts"].state.keys = NotReadYet()
    assert "“alerts” is away" in await visitor.see("/cases", 503)
    assert "What you earned" in await visitor.see("/")


async def test_without_the_registry_others_know_the_key(visitor):
    visitor.behind.stop("registry")
    assert (await visitor.sign_in()).status_code == 303
    assert "Agency a1" in await visitor.see("/")
    assert "twin_6f1c2a9b…" in await visitor.see("/cases")


async def test_with_nobody_there_signing_in_says_which_part_is_away(visitor):
    for name in ("registry", "royalty", "alerts"):
        visitor.behind.stop(name)
    answer = await visitor.sign_in()
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "10")
    assert "is away" in words_of(answer.text)


async def test_services_that_answer_oddly_are_away_and_the_key_is_not_called_wrong(visitor):
    for name in ("registry", "royalty", "alerts"):
        visitor.behind.addresses[name] = visitor.behind.addresses["judging"]
    assert (await visitor.sign_in()).status_code == 503


@pytest.mark.parametrize(
    ("role", "told", "not_told"),
    [
        ("agency", ["1 open case", "What you earned", "1,500 JPY"], ["The ledger", "The parts"]),
        ("talent", ["What you earned", "1,234.50 EUR", "Talent Ada Lind"], ["open case", "The ledger", "JPY"]),
        ("brand", ["What you owe", "1,234.567 KWD", "Brand Acme Outdoor"], ["open case", "The ledger", "JPY"]),
        ("finance", ["It balances", "1,234.50 EUR", "1,500 JPY"], ["open case", "The parts"]),
        ("operator", ["1 open case", "It balances", "The parts", "Judging Ready"], []),
    ],
)
async def test_the_overview_shows_what_waits_for_a_role(visitor, role, told, not_told):
    await visitor.sign_in(role)
    page = await visitor.see("/")
    assert [part for part in told if part not in page] == []
    assert [part for part in not_told if part in page] == []


async def test_one_part_that_is_away_leaves_the_others_on_the_overview(visitor):
    await visitor.sign_in("operator")
    visitor.behind.stop("alerts")
    page = await visitor.see("/")
    assert "The part “alerts” is away" in page
    assert "Alerts Not ready does not answer" in page
    assert "It balances" in page


async def test_a_ledger_that_does_not_balance_is_told_loudly(visitor):
    visitor.behind.reports.balanced = False
    await visitor.sign_in("finance")
    assert "It does not balance" in await visitor.see("/")
