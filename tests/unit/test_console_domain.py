"""What the console's pages show, and who counts as signed in."""

import time
from datetime import timedelta

import pytest
from cryptography.fernet import Fernet
from pydantic import SecretStr
from starlette.responses import Response

from services.console.answers import Statement, StatementLine, StatementRow
from services.console.domain import (
    in_full_words,
    in_words,
    local_path,
    payee_in_words,
    percent,
    sheet_of,
    shortened,
    sums_of,
)
from services.console.session import Session, Sessions
from services.console.settings import ConsoleSettings
from tests.builders import NOON, ONE_HOUR


def a_line(minor: int, *, number: int = 1, **changes: object) -> StatementLine:
    given: dict[str, object] = {
        "transaction_id": f"t{number}",
        "line": "fee",
        "minor": minor,
        "license_id": "lic-1",
        "license_version": 1,
        "use_id": f"use-{number}",
        "usage_revision": 1,
        "twin_id": "twin-1",
        "platform": "instagram",
        "post_id": "p1",
        "started_at": NOON + number * ONE_HOUR,
    }
    return StatementLine.model_validate({**given, **changes})


def a_statement(*lines: StatementLine, total: int | None = None) -> Statement:
    return Statement(
        statement_id="st-1",
        kind="payable",
        payee="talent:t1",
        currency="EUR",
        period="2026-11",
        status="draft",
        total_minor=sum(line.minor for line in lines) if total is None else total,
        lines=lines,
        digest="sha256:0",
    )


def test_a_score_is_never_rounded_up_to_certainty():
    assert percent(0.999) == "99 %"
    assert percent(1.0) == "100 %"


def test_known_words_are_told_and_unknown_ones_are_still_readable():
    assert in_words("held") == "On hold"
    assert in_words("taken_down") == "Taken down"


def test_a_moment_is_told_in_utc():
    assert in_full_words(NOON) == "2 Nov 2026, 12:00 UTC"


def test_a_payee_is_told_by_name_and_without_one_by_its_id():
    assert payee_in_words("talent:t1", {"talent:t1": "Ada Lind"}) == "Talent Ada Lind"
    assert payee_in_words("talent:t1", {}) == "Talent t1"


def test_a_long_id_is_shortened_and_a_short_one_is_not():
    assert shortened("twin_6f1c2a9be0d34f7c8a55b0c9d2e1f3a4") == "twin_6f1c2a9b…"
    assert shortened("t1") == "t1"


@pytest.mark.parametrize("stranger", ["//evil.example", "/\\evil.example", "https://evil.example", "", "/a\nb"])
def test_after_signing_in_nobody_is_led_to_another_site(stranger):
    assert local_path(stranger) == "/"


def test_after_signing_in_one_goes_to_the_page_one_wanted():
    assert local_path("/cases/use-1?x=1") == "/cases/use-1?x=1"


def test_a_statement_shows_what_was_taken_back_before_what_was_booked_instead():
    fee = a_line(1_000)
    back = a_line(-1_000, line="reversal", corrects="t1", usage_revision=2, transaction_id="t2")
    again = a_line(800, usage_revision=2, transaction_id="t0")
    sheet = sheet_of(a_statement(again, back, fee), 1)
    assert sheet is not None
    assert [line.transaction_id for line in sheet.lines] == ["t1", "t2", "t0"]
    assert (sheet.fees_minor, sheet.taken_back_minor) == (1_800, -1_000)
    assert sheet.adds_up


def test_a_statement_whose_lines_do_not_add_up_says_so():
    sheet = sheet_of(a_statement(a_line(1_000), total=1_001), 1)
    assert sheet is not None
    assert not sheet.adds_up


def test_sums_are_over_all_pages_and_per_license_version():
    lines = [a_line(100, number=number, license_version=1 + number % 2) for number in range(5)]
    sheet = sheet_of(a_statement(*lines), 2, per_page=3)
    assert sheet is not None
    assert (len(sheet.lines), sheet.pages, sheet.fees_minor) == (2, 2, 500)
    assert [(each.license_version, each.lines, each.minor) for each in sheet.by_license] == [(1, 3, 300), (2, 2, 200)]


def test_a_page_beyond_the_last_is_none():
    assert sheet_of(a_statement(a_line(1)), 2) is None


def test_what_is_earned_and_what_is_owed_are_never_added_up():
    def a_row(kind: str, minor: int) -> StatementRow:
        return StatementRow.model_validate(
            {**dict(a_statement(a_line(minor))), "kind": kind, "lines": 1, "total_minor": minor}
        )

    rows = [a_row("payable", 5), a_row("receivable", 7), a_row("payable", 3)]
    assert sums_of(rows) == [("payable", "EUR", 8), ("receivable", "EUR", 7)]


SESSION = Session(api_key="twk_secret", role="agency", tenant_id="a1", livemode=True)


def sessions(key: bytes, *, secure: bool = False) -> Sessions:
    return Sessions(SecretStr(key.decode()), lasts=timedelta(hours=1), secure=secure, port=8007)


def cookie_of(kept: Sessions) -> str:
    answer = Response()
    kept.keep(SESSION, answer)
    return answer.headers["set-cookie"]


def test_a_session_comes_back_as_it_was_and_its_key_cannot_be_read():
    kept = sessions(Fernet.generate_key())
    value = cookie_of(kept).split(";")[0].partition("=")[2]
    assert "twk_secret" not in value
    assert kept.find({kept.cookie: value}) == SESSION
    assert "twk_secret" not in repr(SESSION)


def test_a_session_runs_out(monkeypatch):
    kept = sessions(Fernet.generate_key())
    value = cookie_of(kept).split(";")[0].partition("=")[2]
    later = time.time() + 3_601
    monkeypatch.setattr(time, "time", lambda: later)
    assert kept.find({kept.cookie: value}) is None


def test_what_others_seal_with_the_same_secret_is_no_session():
    key = Fernet.generate_key()
    forged = Fernet(key).encrypt(SESSION.model_dump_json().encode()).decode()
    kept = sessions(key)
    assert kept.find({kept.cookie: forged}) is None
    assert kept.find({kept.cookie: "rubbish"}) is None
    assert kept.find({}) is None


def test_a_cookie_is_out_of_reach_of_scripts_and_other_sites():
    attributes = {part.strip().lower() for part in cookie_of(sessions(Fernet.generate_key())).split(";")[1:]}
    assert {"httponly", "samesite=strict", "path=/", "max-age=3600"} <= attributes
    assert "secure" not in attributes


def test_behind_https_the_cookie_is_secure_and_bound_to_the_host():
    cookie = cookie_of(sessions(Fernet.generate_key(), secure=True))
    assert cookie.startswith("__Host-twintally-8007=")
    assert "Secure" in cookie


ENVIRONMENT = {
    **{
        f"TWINTALLY_URL_{name}": "http://127.0.0.1:1"
        for name in ("REGISTRY", "MATCHING", "JUDGING", "ALERTS", "ROYALTY")
    },
    "TWINTALLY_HTTP_PORT": "8007",
    "TWINTALLY_SECRET_KEY": Fernet.generate_key().decode(),
}


def test_settings_need_no_broker_and_no_database(monkeypatch):
    for name, value in {**ENVIRONMENT, "TWINTALLY_URL_ALERTS": "http://alerts.internal/base/"}.items():
        monkeypatch.setenv(name, value)
    settings = ConsoleSettings.from_environment()
    assert settings.addresses()["alerts"] == "http://alerts.internal/base"
    assert ENVIRONMENT["TWINTALLY_SECRET_KEY"] not in str(settings.masked())


@pytest.mark.parametrize(
    ("name", "value"),
    [("TWINTALLY_SECRET_KEY", "too short"), ("TWINTALLY_URL_ALERTS", "alerts:8005"), ("TWINTALLY_SESSION_H", "0")],
)
def test_a_wrong_setting_stops_the_start_with_its_name(monkeypatch, capsys, name, value):
    for each, given in {**ENVIRONMENT, name: value}.items():
        monkeypatch.setenv(each, given)
    with pytest.raises(SystemExit):
        ConsoleSettings.from_environment()
    assert name in capsys.readouterr().err
