"""The demo is played once, as a person plays it, and its outcome is the truth."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from infra.local.state import read_state

# Far more than it takes on two cores that have nothing else to do.
PLAY_S = 240


def run_demo(project: Path, folder: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "infra.demo.cli", "--dir", str(folder), *flags],
        cwd=project,
        capture_output=True,
        text=True,
        timeout=PLAY_S,
        check=False,
    )


@pytest.fixture(scope="module")
def played(project: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    folder = tmp_path_factory.mktemp("demo")
    return folder, run_demo(project, folder)


def report_of(folder: Path) -> dict[str, Any]:
    report: dict[str, Any] = json.loads((folder / "report.json").read_text())
    return report


@pytest.mark.timeout(PLAY_S + 20)
def test_the_outcome_is_the_truth(played: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    folder, result = played
    assert result.returncode == 0, result.stdout + result.stderr
    report = report_of(folder)
    assert report["differences"] == []
    assert report["expected_ok"] is True
    assert report["ledger_balanced"] is True
    assert report["accepted"] >= 120
    assert report["duplicates"] > 0
    assert report["sightings"] > 150
    assert set(report["verdicts"]) == {"licensed", "out_of_scope", "unlicensed", "no_use"}
    assert report["alerts_delivered"] >= report["verdicts"]["unlicensed"]
    assert all(isinstance(minor, int) for minor in report["statements"].values())
    assert "The outcome is the truth" in result.stdout


def test_a_contact_sheet_is_left_for_people(played: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    folder, _ = played
    page = (folder / "contact-sheet.html").read_text()
    assert page.count("<figure") == report_of(folder)["sightings"]
    with Image.open(folder / "contact-sheet.png") as sheet:
        assert min(sheet.size) > 1000


def test_nothing_is_left_running(played: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    folder, _ = played
    state = read_state(folder / "stack")
    assert state is not None
    assert not state.owned
    assert [name for name, part in state.parts.items() if part.living] == []


@pytest.mark.parametrize("flag", ["--flip-verdict", "--flip-cent"])
def test_one_wrong_expectation_is_seen_in_what_was_recorded(
    project: Path, played: tuple[Path, subprocess.CompletedProcess[str]], flag: str
) -> None:
    folder, _ = played
    right, wrong = run_demo(project, folder, "--recorded"), run_demo(project, folder, "--recorded", flag)
    assert right.returncode == 0, right.stdout
    assert wrong.returncode == 1
    assert "expected" in wrong.stdout
