"""`twintally statements` and the batch's rules, without any server."""

import json

import pytest
from starlette.testclient import TestClient
from typer.testing import CliRunner

from services.royalty import cli
from services.royalty.api import build_app
from services.royalty.reports import StatementSummary, StatementView
from shared.access import Caller
from shared.kafka import Record
from shared.kafka.batches import Patience, work_batch
from shared.kafka.consuming import Fenced

STATEMENT = {
    "statement_id": "093ce57f-affd-5fc7-a5cb-384538bfb037",
    "kind": "payable",
    "payee": "talent:t1",
    "currency": "JPY",
    "period": "2026-11",
    "status": "draft",
    "total_minor": 123_456,
}
LINE = {
    "transaction_id": "ec5c7164-1401-5cf1-b9c0-0925d6681fd5",
    "line": "fee",
    "corrects": None,
    "minor": 123_456,
    "license_id": "license-1",
    "license_version": 2,
    "use_id": "use-1",
    "usage_revision": 1,
    "twin_id": "twin-1",
    "platform": "instagram",
    "post_id": "post-1",
    "started_at": "2026-11-02T12:00:00.000000Z",
}


class OneStatement:
    """Reports of a ledger with one statement."""

    async def statements(self, caller, *, period, payee, limit, offset):
        known = payee in (None, "talent:t1") and period in (None, "2026-11")
        return [StatementSummary(**STATEMENT, lines=1)] if known else []

    async def statement(self, caller, statement_id):
        return StatementView(**STATEMENT, lines=[LINE], digest="sha256:" + "0" * 64)


class OneKey:
    async def caller_of(self, api_key):
        return Caller("key", "finance", None, True) if api_key == "good" else None


@pytest.fixture
def run(monkeypatch):
    def client(url: str, key: str) -> TestClient:
        return TestClient(build_app(OneStatement(), OneKey()), headers={"Authorization": f"Bearer {key}"})

    monkeypatch.setattr(cli, "_client", client)
    monkeypatch.setenv("TWINTALLY_URL_ROYALTY", "http://royalty")
    monkeypatch.setenv("TWINTALLY_API_KEY", "good")
    monkeypatch.setenv("COLUMNS", "200")
    return lambda *words, **env: CliRunner().invoke(cli.app, words, env=env)


def test_the_list_shows_totals_in_the_digits_of_their_currency(run):
    shown = run("list")
    assert shown.exit_code == 0
    assert "123,456 JPY" in shown.output


def test_a_statement_is_shown_line_by_line_with_what_leads_back_to_it(run):
    shown = run("show", "talent:t1", "--period", "2026-11")
    assert shown.exit_code == 0
    for text in ("123,456 JPY", "license-1 v2", "instagram post-1", "2026-11-02", LINE["transaction_id"], "sha256:"):
        assert text in shown.output


def test_a_statement_can_be_had_as_json(run):
    assert json.loads(run("show", "talent:t1", "--json").output)[0]["lines"] == [LINE]


def test_a_payee_without_statement_is_said_and_fails(run):
    shown = run("show", "talent:t2")
    assert shown.exit_code == 1
    assert "No statement of talent:t2" in shown.output


def test_a_refusal_of_the_service_is_told_with_its_remedy(run):
    shown = run("list", TWINTALLY_API_KEY="bad")
    assert shown.exit_code == 1
    assert "Send a valid API key" in shown.output


def test_a_service_that_is_away_is_told_with_its_address():
    shown = CliRunner().invoke(cli.app, ["list", "--url", "http://127.0.0.1:1", "--key", "good"])
    assert shown.exit_code == 1
    assert "http://127.0.0.1:1" in shown.output


class NoLetters:
    async def keep(self, record, *, error, attempts):
        raise AssertionError("nothing here is a dead letter")


async def test_a_fenced_batch_is_neither_repeated_nor_a_dead_letter():
    calls = []

    async def effect(records):
        calls.append(len(records))
        if len(records) > 1:
            raise ValueError("one of them is at fault")
        raise Fenced("taken")

    records = [Record("usage.v1", 0, offset, b"k", b"v") for offset in range(3)]
    with pytest.raises(Fenced):
        await work_batch(records, effect, NoLetters(), Patience(first_pause_s=0.0))
    assert calls == [3, 1]
