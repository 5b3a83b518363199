"""The console's statements: sums, lines, pages."""

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.console_house import a_posting
from tests.console_street import Street, a_street, furnished
from tests.console_visitor import Visitor, a_visitor


@pytest.fixture(scope="module")
def street() -> Iterator[Street]:
    with a_street() as street:
        yield street


@pytest.fixture
async def visitor(street) -> AsyncIterator[Visitor]:
    async with a_visitor(street.let(furnished())) as visitor:
        yield visitor


async def test_a_statement_traces_every_line_and_shows_its_sums(visitor):
    statement = visitor.behind.reports.views[0]
    await visitor.sign_in("talent")
    page = await visitor.see(f"/statements/{statement.statement_id}")
    for told in (
        "Earned in this period 1,234.50 EUR",
        "Fees 2,434.50 EUR",
        "Taken back -1,200.00 EUR",
        "Lines 4",
        "Talent Ada Lind",
        "post-4",
        "version 2",
        "6dc37d28-4fb3-545b-88fa-000000000004",
        "Total 1,234.50 EUR",
        statement.digest,
    ):
        assert told in page
    markup = (await visitor.open(f"/statements/{statement.statement_id}")).text
    first = statement.lines[0].transaction_id
    assert f'id="t-{first}"' in markup
    assert f'href="#t-{first}"' in markup


@pytest.mark.parametrize(("number", "role", "total"), [(1, "agency", "1,500 JPY"), (2, "brand", "1,234.567 KWD")])
async def test_money_has_the_digits_of_its_currency(visitor, number, role, total):
    await visitor.sign_in(role)
    statement = visitor.behind.reports.views[number]
    assert f"Total {total}" in await visitor.see(f"/statements/{statement.statement_id}")


async def test_a_long_statement_has_pages_and_one_total(visitor):
    long = visitor.behind.reports.add(*(a_posting(-100, number=1_000 + n, period="2026-09") for n in range(450)))
    await visitor.sign_in("talent")
    shown = 0
    for number in (1, 2, 3):
        answer = await visitor.open(f"/statements/{long.statement_id}?page={number}")
        shown += answer.text.count('<tr id="t-')
        assert "450.00 EUR" in answer.text
    assert shown == 450
    assert (await visitor.open(f"/statements/{long.statement_id}?page=4")).status_code == 404


async def test_statements_are_found_by_period_and_payee(visitor):
    await visitor.sign_in("finance")
    everything = await visitor.see("/statements")
    assert "Earned in EUR, on this page 1,238.50 EUR" in everything
    assert "Owed in KWD, on this page 1,234.567 KWD" in everything
    one = await visitor.see("/statements?period=2026-10&payee=agency:a1")
    assert "4.00 EUR" in one
    assert "JPY" not in one
    assert "No statement fits" in await visitor.see("/statements?period=2020-01")
    assert "Write a period like 2026-11" in await visitor.see("/statements?period=soon", 422)


async def test_statements_have_pages(visitor):
    for number in range(60):
        visitor.behind.reports.add(a_posting(-100, period=f"{2000 + number // 12}-{number % 12 + 1:02}"))
    await visitor.sign_in("talent")
    pages = [(await visitor.open(f"/statements?page={number}")).text for number in (1, 2)]
    assert [page.count('href="/statements/') for page in pages] == [50, 11]
    assert 'rel="next"' in pages[0]
    assert 'rel="next"' not in pages[1]


async def test_a_statement_of_someone_else_is_not_there(visitor):
    await visitor.sign_in("agency")
    assert (await visitor.open(f"/statements/{visitor.behind.reports.views[0].statement_id}")).status_code == 404


async def test_a_sandbox_key_is_told_that_it_earns_nothing(visitor):
    await visitor.sign_in("sandbox")
    page = await visitor.see("/statements")
    assert "Sandbox" in page
    assert "test posts earn no money" in page
