"""A wrong setting stops a process at once, with its name, what it got, and an example."""

import pytest
from cryptography.fernet import Fernet

from services.intake.settings import IntakeSettings

WHOLE = {
    "KAFKA": "127.0.0.1:9092",
    "DATABASE_WORKER": "postgresql://w:very-secret@127.0.0.1/t",
    "DATABASE_API": "postgresql://a:very-secret@127.0.0.1/t",
    "HTTP_PORT": "8001",
    "REDIS": "redis://127.0.0.1",
    "STORE": "file:///tmp/store",
    "SECRET_KEY": Fernet.generate_key().decode(),
}


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name, value in WHOLE.items():
        monkeypatch.setenv(f"TWINTALLY_{name}", value)
    return monkeypatch


def test_whole_settings_are_read_once_and_never_show_secrets(environment: pytest.MonkeyPatch) -> None:
    settings = IntakeSettings.from_environment()
    assert settings.http_port == 8001
    assert "very-secret" not in str(settings.masked())
    assert WHOLE["SECRET_KEY"] not in str(settings.masked())


def test_a_missing_setting_is_named_with_an_example(
    environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    environment.delenv("TWINTALLY_KAFKA")
    with pytest.raises(SystemExit) as stopped:
        IntakeSettings.from_environment()
    said = capsys.readouterr().err
    assert stopped.value.code == 78
    assert "TWINTALLY_KAFKA: must be set; got nothing; example: TWINTALLY_KAFKA=127.0.0.1:9092" in said


def test_a_malformed_setting_says_what_it_got(
    environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    environment.setenv("TWINTALLY_HTTP_PORT", "eighty")
    with pytest.raises(SystemExit):
        IntakeSettings.from_environment()
    said = capsys.readouterr().err
    assert "TWINTALLY_HTTP_PORT" in said
    assert "'eighty'" in said
    assert "very-secret" not in said


def test_an_empty_setting_is_one_that_is_not_set(
    environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    environment.setenv("TWINTALLY_KAFKA_CA_FILE", "")
    assert IntakeSettings.from_environment().kafka_ca_file is None
    environment.setenv("TWINTALLY_STORE", "")
    with pytest.raises(SystemExit):
        IntakeSettings.from_environment()
    assert "TWINTALLY_STORE: must be set; got nothing" in capsys.readouterr().err


def test_a_password_in_an_address_that_should_hold_none_does_not_show(
    environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    environment.setenv("TWINTALLY_STORE", "s3://user:very-secret@bucket/x")
    with pytest.raises(SystemExit):
        IntakeSettings.from_environment()
    said = capsys.readouterr().err
    assert "got 's3://***@bucket/x'" in said
    assert "very-secret" not in said
