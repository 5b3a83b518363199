"""One wrong verdict, one wrong cent, one false accusation: each is seen."""

import json
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pytest
from rich.console import Console
from typer import Typer
from typer.testing import CliRunner

from infra.demo.cli import demo
from infra.demo.compare import differences, name_of, with_one_verdict_flipped
from infra.demo.outcome import AlertFound, CaseFound, Outcome, UseFound
from infra.demo.telling import print_tables, write_report
from infra.demo.truth import Truth, agency_of, is_accused, judged, shows_a_twin, statements, truth_of

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)


def truthful(truth: Truth, *, at_last: bool = True) -> Outcome:
    """The outcome of a house that makes no mistake."""
    uses, cases, alerts = {}, {}, {}
    for use in truth.uses:
        name, agency, true = name_of(use), agency_of(truth.cast, use), judged(use, at_last=at_last)
        uses[name] = UseFound(verdict=true.verdict, fails=true.fails, reasons=true.fails, ended=use.ended)
        accused = [each for each in ([use.first, use.last] if at_last else [use.first]) if is_accused(each)]
        if accused:
            is_open = is_accused(true)
            cases[name] = CaseFound(agency=agency, status="open" if is_open else "withdrawn")
            kinds = ("opened",) if is_open else ("opened", "withdrawn")
            told = [
                AlertFound(agency=agency, sequence=number, kind=kind, verdict=accused[-1].verdict)
                for number, kind in enumerate(kinds, start=1)
            ]
            alerts.update({} if use.backfill else {name: told})
    return Outcome(
        now=truth.now,
        accepted=truth.accepted,
        duplicates=truth.duplicates,
        uses=uses,
        cases=cases,
        alerts=alerts,
        statements=statements(truth, at_last=at_last),
        ledger_balanced=True,
        media=dict(truth.media),
        sighted=[picture.name for picture in truth.pictures if shows_a_twin(picture)],
    )


@pytest.fixture(scope="module")
def truth() -> Truth:
    return truth_of(NOW)


@pytest.fixture
def found(truth: Truth) -> Outcome:
    return truthful(truth)


@pytest.mark.parametrize("at_last", [True, False])
def test_the_truth_differs_in_nothing_from_itself(truth: Truth, at_last: bool) -> None:
    assert differences(truth, truthful(truth, at_last=at_last), at_last=at_last) == []


def test_what_was_true_at_first_is_not_true_at_last(truth: Truth) -> None:
    assert differences(truth, truthful(truth, at_last=False)) != []


def test_one_flipped_verdict_is_seen(truth: Truth, found: Outcome) -> None:
    problems = differences(with_one_verdict_flipped(truth), found)
    assert any(problem.startswith(f"use {name_of(truth.uses[0])}") for problem in problems)


def test_one_cent_is_seen(truth: Truth, found: Outcome) -> None:
    assert len(differences(truth, found, cents=1)) == 1
    payee = max(found.statements)
    wrong = found.model_copy(update={"statements": {**found.statements, payee: found.statements[payee] - 1}})
    assert differences(truth, wrong) == [
        f"statement of {payee}: {found.statements[payee]} expected, {found.statements[payee] - 1} found"
    ]


@pytest.mark.parametrize(
    "change",
    [
        {"accepted": 1},
        {"duplicates": 0},
        {"uses": {}},
        {"cases": {}},
        {"alerts": {}},
        {"alerts_refused": 1},
        {"statements": {}},
        {"ledger_balanced": False},
        {"media": {}},
        {"sighted": []},
    ],
    ids=lambda change: next(iter(change)),
)
def test_nothing_may_be_missing(truth: Truth, found: Outcome, change: dict[str, object]) -> None:
    assert differences(truth, found.model_copy(update=change)) != []


def test_a_false_accusation_is_seen_also_when_it_was_taken_back(truth: Truth, found: Outcome) -> None:
    use = next(use for use in truth.uses if use.last.verdict == "licensed" and use.first == use.last)
    for status in ("open", "withdrawn"):
        accused = {**found.cases, name_of(use): CaseFound(agency=agency_of(truth.cast, use), status=status)}
        if use.passing and status == "withdrawn":
            continue
        assert differences(truth, found.model_copy(update={"cases": accused})) != []


def test_an_alert_to_the_other_agency_is_seen(truth: Truth, found: Outcome) -> None:
    name, told = next(iter(found.alerts.items()))
    other = next(agency for agency in truth.cast.agencies if agency != told[0].agency)
    strayed = [alert.model_copy(update={"agency": other}) for alert in told]
    problems = differences(truth, found.model_copy(update={"alerts": {**found.alerts, name: strayed}}))
    assert problems == [f"alerts {name}: told to another agency"]


def test_a_twin_that_nobody_showed_is_seen(truth: Truth, found: Outcome) -> None:
    use = truth.uses[0]
    more = {**found.uses, f"{use.platform}/{use.post}/t30": found.uses[name_of(use)]}
    assert len(differences(truth, found.model_copy(update={"uses": more}))) == 1


@pytest.mark.parametrize(("flags", "code"), [([], 0), (["--flip-verdict"], 1), (["--flip-cent"], 1)])
def test_the_command_ends_with_one_when_the_outcome_is_not_the_truth(
    tmp_path: Path, found: Outcome, flags: list[str], code: int
) -> None:
    found.save(tmp_path / "outcome.json")
    app = Typer()
    app.command()(demo)
    result = CliRunner().invoke(app, ["--recorded", "--dir", str(tmp_path), *flags])
    assert result.exit_code == code, result.output
    assert ("expected" in result.output) == bool(code)


def test_the_report_says_what_came_of_it(tmp_path: Path, truth: Truth, found: Outcome) -> None:
    write_report(tmp_path / "report.json", found, [], 12.34)
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["expected_ok"] is True
    assert report["seconds"] == 12.3
    assert report["sightings"] == truth.sightings
    assert report["verdicts"] == Counter(use.last.verdict for use in truth.uses)
    assert report["statements"] == statements(truth)


def test_people_see_every_payee(truth: Truth, found: Outcome) -> None:
    console = Console(width=120, record=True, quiet=False, file=(Path("/dev/null").open("w")))  # noqa: SIM115
    print_tables(console, truth, found)
    console.file.close()
    told = console.export_text()
    assert all(payee.partition(" ")[0] in told for payee in found.statements)
