"""What the demo tells people: tables, the report, where everything runs."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from infra.demo.cast import Cast
from infra.demo.compare import name_of
from infra.demo.outcome import Outcome
from infra.demo.truth import Truth, is_accused, statements, verdicts
from shared.money import formatted

SHOWN_MAX = 40


def write_report(path: Path, found: Outcome, problems: Sequence[str], seconds: float) -> None:
    """The outcome in a few figures."""
    report = {
        "accepted": found.accepted,
        "duplicates": found.duplicates,
        "sightings": len(found.sighted or ()),
        "uses": len(found.uses),
        "verdicts": dict(sorted(_verdicts(found).items())),
        "alerts_delivered": found.alerts_delivered,
        "ledger_balanced": found.ledger_balanced,
        "statements": found.statements,
        "images": found.media,
        "expected_ok": not problems,
        "differences": list(problems),
        "seconds": round(seconds, 1),
    }
    path.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def print_tables(console: Console, truth: Truth, found: Outcome) -> None:
    """Verdicts, alerts and statements, each beside what was expected."""
    console.print(_verdict_table(truth, found))
    console.print(_alert_table(truth, found))
    console.print(_statement_table(truth, found))
    balance = "balances" if found.ledger_balanced else "[red]does not balance[/]"
    console.print(
        f"{found.accepted} facts accepted, {found.duplicates} told twice; {len(found.sighted or ())} of"
        f" {len(truth.pictures)} images show a twin; the ledger {balance}."
    )


def print_differences(console: Console, problems: Sequence[str]) -> None:
    """What is not as it should be."""
    console.print(f"[red]The outcome is not the truth: {len(problems)} differences.[/]")
    for problem in problems[:SHOWN_MAX]:
        console.print(f"  {problem}", markup=False, highlight=False, soft_wrap=True)
    if len(problems) > SHOWN_MAX:
        console.print(f"  and {len(problems) - SHOWN_MAX} more")


def print_addresses(console: Console, urls: Mapping[str, str], stack: Path, keys: Mapping[str, str]) -> None:
    """Where everything runs, and how to sign in."""
    table = Table("Service", "Address", title="Left running", box=None, pad_edge=False)
    for name, url in urls.items():
        table.add_row(name, url)
    console.print(table)
    console.print(f"Sign in: {urls['console']}/sign-in", highlight=False, soft_wrap=True)
    for name, key in keys.items():
        console.print(f"  as {name:<12} {key}", highlight=False, soft_wrap=True)
    console.print(f"Stop it: twintally stack down --dir {stack}", highlight=False, soft_wrap=True)


def services_of(ports: Mapping[str, int], names: Sequence[str]) -> dict[str, str]:
    """The addresses of these services."""
    return {name: f"http://127.0.0.1:{ports[name]}" for name in names if name in ports}


def _verdicts(found: Outcome) -> Counter[str]:
    return Counter(use.verdict or "none yet" for use in found.uses.values())


def _verdict_table(truth: Truth, found: Outcome) -> Table:
    table = _table("Uses of twins", "Verdict", "Fails in", "Expected", "Found")
    expected: Counter[tuple[str, str]] = Counter(
        (use.last.verdict, ", ".join(sorted(use.last.fails))) for use in truth.uses
    )
    seen = Counter((use.verdict or "none yet", ", ".join(sorted(use.fails))) for use in found.uses.values())
    for verdict, why in sorted(expected.keys() | seen.keys()):
        _row(table, (verdict.replace("_", " "), why), expected[verdict, why], seen[verdict, why])
    _row(table, ("all", ""), sum(verdicts(truth.uses).values()), len(found.uses))
    return table


def _alert_table(truth: Truth, found: Outcome) -> Table:
    table = _table("Alerts, verified by the receiver", "Agency", "Case", "Expected", "Found")
    for agency in truth.cast.agencies:
        mine = [use for use in truth.uses if truth.cast.talents[use.twin].agency == agency]
        told = [use for use in mine if found.alerts.get(name_of(use))]
        ends = {name_of(use): max(found.alerts[name_of(use)], key=lambda alert: alert.sequence).kind for use in told}
        is_open = sum(is_accused(use.last) and not use.backfill for use in mine)
        _row(table, (agency, "open"), is_open, sum(kind != "withdrawn" for kind in ends.values()))
        taken_back = [use for use in mine if is_accused(use.first) and not is_accused(use.last)]
        withdrawn = sum(ends.get(name_of(use)) == "withdrawn" for use in taken_back)
        _row(table, (agency, "withdrawn again"), len(taken_back), withdrawn)
    return table


def _statement_table(truth: Truth, found: Outcome) -> Table:
    table = _table("Statements", "Payee or brand", "", "Expected", "Found")
    expected = statements(truth)
    for payee in sorted(expected.keys() | found.statements.keys()):
        name, _, currency = payee.partition(" ")
        due, told = (formatted(totals.get(payee, 0), currency) for totals in (expected, found.statements))
        _row(table, (name, "owes" if name.startswith("brand:") else "earned"), due, told)
    return table


def _table(title: str, *names: str) -> Table:
    table = Table(title=title, title_justify="left", pad_edge=False)
    for place, name in enumerate(names):
        table.add_column(name, justify="right" if place >= 2 else "left", no_wrap=True)
    return table


def _row(table: Table, names: tuple[str, str], expected: object, found: object) -> None:
    table.add_row(*names, str(expected), str(found), style=None if expected == found else "red")


def names_of_keys(cast: Cast, keys: Mapping[str, str]) -> dict[str, str]:
    """The API keys that a person may want, by what they are for."""
    return {f"agency {name}" if name in cast.agencies else name: key for name, key in keys.items()}
