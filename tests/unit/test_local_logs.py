"""The logs of a local stack, as a person reads them."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from infra.local.cli import app
from infra.local.logs import Log, Logs


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    logs = tmp_path / "logs"
    logs.mkdir()
    (logs / "intake.log").write_text("".join(f"line {number}\n" for number in range(60)))
    (logs / "kafka.log").write_text("[started]\nunfinished")
    return tmp_path


def shown(folder: Path, *words: str) -> list[str]:
    told = CliRunner().invoke(app, ["logs", *words, "--dir", str(folder)])
    assert told.exit_code == 0, told.output
    return told.output.splitlines()


def test_without_a_name_the_last_lines_of_every_log_bear_its_name(folder: Path) -> None:
    lines = shown(folder)
    assert lines == [
        *(f"intake | line {number}" for number in range(50, 60)),
        "kafka  | [started]",
        "kafka  | unfinished",
    ]


def test_one_log_is_shown_as_it_is(folder: Path) -> None:
    assert shown(folder, "intake") == [f"line {number}" for number in range(10, 60)]
    assert shown(folder, "intake", "-n", "1") == ["line 59"]
    assert shown(folder, "-n", "1") == ["intake | line 59", "kafka  | unfinished"]


def test_following_goes_on_with_every_log(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def later(_: float) -> None:
        if (folder / "logs" / "alerts.log").exists():
            raise KeyboardInterrupt
        with (folder / "logs" / "intake.log").open("a") as log:
            log.write("taken in\n")
        (folder / "logs" / "alerts.log").write_text("told\n")

    monkeypatch.setattr("infra.local.cli.time.sleep", later)
    told = CliRunner().invoke(app, ["logs", "-f", "-n", "0", "--dir", str(folder)])
    assert told.output.splitlines()[:2] == ["alerts | told", "intake | taken in"]


def test_a_long_line_is_not_folded(folder: Path) -> None:
    (folder / "logs" / "kafka.log").write_text("x" * 500 + "\n")
    assert shown(folder)[-1] == "kafka  | " + "x" * 500


def test_a_log_that_is_not_there_is_told_with_those_that_are(folder: Path, tmp_path: Path) -> None:
    told = CliRunner().invoke(app, ["logs", "nothing", "--dir", str(folder)])
    assert told.exit_code == 1
    assert "Logs here: intake, kafka" in told.output
    nowhere = CliRunner().invoke(app, ["logs", "--dir", str(tmp_path / "nowhere")])
    assert nowhere.exit_code == 1
    assert "none yet" in nowhere.output


def test_what_comes_after_is_told_in_whole_lines_and_once(tmp_path: Path) -> None:
    path = tmp_path / "intake.log"
    path.write_text("one\n")
    log = Log(path)
    assert log.last(5) == ["one"]
    with path.open("a") as written:
        written.write("two\nthr")
        written.flush()
        assert list(log.new()) == ["two"]
        written.write("ee\n")
    assert list(log.new()) == ["three"]
    assert list(log.new()) == []


def test_a_log_that_was_begun_anew_is_read_from_its_start(tmp_path: Path) -> None:
    path = tmp_path / "intake.log"
    path.write_text("before\nbefore\n")
    log = Log(path)
    log.last(5)
    path.write_text("after\n")
    assert list(log.new()) == ["after"]
    path.unlink()
    assert list(log.new()) == []


def test_a_log_that_is_begun_later_is_found(tmp_path: Path) -> None:
    logs = Logs(tmp_path)
    assert logs.found() == []
    (tmp_path / "registry.log").write_text("started\n")
    assert [(log.name, list(log.new())) for log in logs.found()] == [("registry", ["started"])]
    assert [list(log.new()) for log in logs.found()] == [[]]
