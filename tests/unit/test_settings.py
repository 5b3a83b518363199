"""A wrong setting stops a process at once, with its name, what it got, and an example."""

import pytest

from services.intake.settings import IntakeSettings

WHOLE = {
    "KAFKA": "127.0.0.1:9092",
    "DATABASE_WORKER": "postgresql://w:very-secret@127.0.0.1/t",
    "DATABASE_API": "postgresql://a:very-secret@127.0.0.1/t",
    "HTTP_PORT": "8001",
    "REDIS": "redis://127.0.0.1",
    "STORE": "file:///tmp/store",
    "SECRET_KEY": "very-secret",
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


def test_a_missing_setting_is_named_with_an_example(
    environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    environment.delenv("TWINTALLY_KAFKA")
    with pytest.raises(SystemExit) as stopped:
        IntakeSettings.from_environment()
    said = capsys.readouterr().err
    assert stopped.value.code == 78
    assert "TWINTALLY_KAFKA: Field required; got nothing; example: TWINTALLY_KAFKA=127.0.0.1:9092" in said


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
