"""A statement has one spelling and one digest, whatever order the ledger's rows came in."""

import json
from dataclasses import replace
from datetime import timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.royalty.domain import fee_for
from services.royalty.statements import Posting, holder_of, statement_id, statement_of
from shared.ids import digest_of
from tests.royalty_builders import NOON, a_usage


def a_posting(use: int = 1, **changed) -> Posting:
    fee = fee_for(a_usage(use_id=f"use-{use}"))
    posting = Posting(
        transaction_id=fee.transaction_id,
        ledger_account="payable:talent:t1",
        minor=-8_000,
        currency="EUR",
        period="2026-11",
        line="fee",
        usage_revision=1,
        corrects=None,
        trace=fee.trace,
    )
    return replace(posting, **changed)


FIVE = [a_posting(use) for use in range(5)]


def test_what_a_payee_earned_is_positive_and_lines_add_up():
    statement = statement_of(FIVE)
    assert (statement.kind, statement.payee, statement.total_minor) == ("payable", "talent:t1", 40_000)
    assert sum(line.minor for line in statement.lines) == statement.total_minor


def test_what_a_brand_owes_is_positive_too():
    statement = statement_of([a_posting(ledger_account="receivable:brand:b1", minor=10_000)])
    assert (statement.kind, statement.payee, statement.total_minor) == ("receivable", "brand:b1", 10_000)


@given(st.permutations(FIVE))
def test_the_order_of_the_rows_changes_no_byte(rows):
    assert statement_of(rows).canonical() == statement_of(FIVE).canonical()
    assert [line.transaction_id for line in statement_of(rows).lines] == sorted(row.transaction_id for row in FIVE)


def test_the_time_zone_of_the_session_changes_no_byte():
    there = replace(FIVE[0].trace, started_at=NOON.astimezone(timezone(timedelta(hours=9))))
    assert statement_of([replace(FIVE[0], trace=there)]) == statement_of([FIVE[0]])


def test_the_spelling_and_digest_of_a_statement_are_these_and_stay_these():
    statement = statement_of([a_posting()])
    assert statement.canonical() == (
        '{"currency":"EUR","kind":"payable","lines":[{"corrects":null,"license_id":"license-1","license_version":1,'
        '"line":"fee","minor":8000,"platform":"instagram","post_id":"post-1","started_at":"2026-11-02T12:00:00.000000Z",'
        '"transaction_id":"ec5c7164-1401-5cf1-b9c0-0925d6681fd5","twin_id":"twin-1","usage_revision":1,"use_id":"use-1"}],'
        '"payee":"talent:t1","period":"2026-11","statement_id":"093ce57f-affd-5fc7-a5cb-384538bfb037","total_minor":8000}'
    )
    assert statement.content_digest() == "sha256:c4c52050e80aefffeff470dd7ea69b2910fd922261c13bcf872317ca04230c50"


def test_anyone_can_recompute_the_digest():
    statement = statement_of(FIVE)
    told = json.loads(json.dumps(statement.model_dump(mode="json")))
    spelled = json.dumps(told, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert digest_of(spelled.encode()) == statement.content_digest()


def test_a_statement_is_named_by_payee_currency_and_period():
    names = {
        statement_id(payee, currency, period)
        for payee in ("talent:t1", "agency:t1")
        for currency in ("EUR", "USD")
        for period in ("2026-10", "2026-11")
    }
    assert len(names) == 8


def test_postings_of_different_statements_make_none():
    with pytest.raises(ValueError, match="one account, currency and period"):
        statement_of([a_posting(1), a_posting(2, currency="USD")])


def test_ids_of_payees_may_hold_colons():
    assert holder_of("payable:talent:t:1") == ("payable", "talent:t:1")


def test_an_account_that_nobody_holds_is_refused():
    with pytest.raises(ValueError, match="not a ledger account"):
        holder_of("reserve:talent:t1")
