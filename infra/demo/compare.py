"""Holds the outcome against the truth: one line per difference."""

from collections.abc import Iterator, Mapping
from dataclasses import replace

from infra.demo.outcome import AlertFound, Outcome
from infra.demo.story import Judged, Use
from infra.demo.truth import Truth, agency_of, is_accused, judged, shows_a_twin, statements


def differences(truth: Truth, found: Outcome, *, at_last: bool = True, cents: int = 0) -> list[str]:
    """Everything that is not as it should be; `cents` makes the truth of one payee wrong by so much, for tests."""
    expected = statements(truth, at_last=at_last)
    if cents:
        payee = min(expected)
        expected[payee] += cents
    return [
        *_numbers({"accepted": truth.accepted, "duplicates": truth.duplicates}, vars(found), "facts"),
        *_uses(truth, found, at_last=at_last),
        *_cases(truth, found, at_last=at_last),
        *_alerts(truth, found, at_last=at_last),
        *_statements(expected, found),
        *_numbers(truth.media, found.media, "images"),
        *_sighted(truth, found),
    ]


def with_one_verdict_flipped(truth: Truth) -> Truth:
    """The truth with one use called the opposite of what it is: what is compared with it must differ."""
    use = truth.uses[0]
    wrong = Judged("unlicensed", ("account",)) if use.last.verdict == "licensed" else Judged("licensed")
    # The fee stays as it was: the flip is one of the verdict alone.
    return replace(truth, uses=(replace(use, last=replace(wrong, license=use.last.license)), *truth.uses[1:]))


def name_of(use: Use) -> str:
    """What a use is called in the outcome."""
    return f"{use.platform}/{use.post}/{use.twin}"


def _numbers(expected: Mapping[str, int], found: Mapping[str, int], what: str) -> Iterator[str]:
    for name, number in expected.items():
        if found.get(name, 0) != number:
            yield f"{what} {name}: {number} expected, {found.get(name, 0)} found"


def _uses(truth: Truth, found: Outcome, *, at_last: bool) -> Iterator[str]:
    expected = {name_of(use): use for use in truth.uses}
    for name in sorted(found.uses.keys() - expected.keys()):
        yield f"use {name}: none expected, {found.uses[name].verdict} found"
    for name, use in expected.items():
        true, seen = judged(use, at_last=at_last), found.uses.get(name)
        if seen is None:
            yield f"use {name}: {true.verdict} expected, no use found"
            continue
        if (seen.verdict, set(seen.fails)) != (true.verdict, set(true.fails)):
            yield f"use {name}: {_spelt(true.verdict, true.fails)} expected, {_spelt(seen.verdict, seen.fails)} found"
        if seen.ended != use.ended:
            yield f"use {name}: {'ended' if use.ended else 'live'} expected, the opposite found"


def _cases(truth: Truth, found: Outcome, *, at_last: bool) -> Iterator[str]:
    for use in truth.uses:
        name, case = name_of(use), found.cases.get(name_of(use))
        agency = agency_of(truth.cast, use)
        if case is not None and case.agency != agency:
            yield f"case {name}: of {agency} expected, of {case.agency} found"
        status = case.status if case else "none"
        if is_accused(judged(use, at_last=at_last)):
            if status != "open":
                yield f"case {name}: open expected, {status} found"
        elif status not in (("withdrawn",) if _was_accused(use, at_last) else ("withdrawn", "none")):
            yield f"case {name}: nothing open expected, {status} found"
        elif status == "withdrawn" and not (use.passing or is_accused(use.first)):
            yield f"case {name}: none expected, a withdrawn one found: someone was accused wrongly"
    for name in sorted(found.cases.keys() - {name_of(use) for use in truth.uses}):
        yield f"case {name}: none expected, {found.cases[name].status} found"


def _alerts(truth: Truth, found: Outcome, *, at_last: bool) -> Iterator[str]:
    if found.alerts_refused:
        yield f"alerts: {found.alerts_refused} did not verify"
    for use in truth.uses:
        told = sorted(found.alerts.get(name_of(use), []), key=lambda alert: alert.sequence)
        yield from (f"alerts {name_of(use)}: {problem}" for problem in _told(truth, use, told, at_last))
    for name in sorted(found.alerts.keys() - {name_of(use) for use in truth.uses}):
        yield f"alerts {name}: none expected"


def _told(truth: Truth, use: Use, told: list[AlertFound], at_last: bool) -> Iterator[str]:
    true, last = judged(use, at_last=at_last), told[-1] if told else None
    if [alert.sequence for alert in told] != list(range(1, len(told) + 1)):
        yield f"numbers 1 to {len(told)} expected, {[alert.sequence for alert in told]} found"
    if any(alert.agency != agency_of(truth.cast, use) for alert in told):
        yield "told to another agency"
    if is_accused(true) and not use.backfill:
        if last is None or last.kind == "withdrawn" or last.verdict != true.verdict:
            yield f"{true.verdict} expected, {f'{last.kind} {last.verdict}' if last else 'nothing'} told"
    elif _was_accused(use, at_last):
        if last is None or last.kind != "withdrawn":
            yield f"withdrawn expected, {last.kind if last else 'nothing'} told"
    elif last is not None and not (use.passing and last.kind == "withdrawn"):
        yield f"none expected, {last.kind} told"


def _was_accused(use: Use, at_last: bool) -> bool:
    return at_last and is_accused(use.first) and not is_accused(use.last)


def _statements(expected: Mapping[str, int], found: Outcome) -> Iterator[str]:
    for payee in sorted(expected.keys() | found.statements.keys()):
        due, told = expected.get(payee, 0), found.statements.get(payee, 0)
        if due != told:
            yield f"statement of {payee}: {due} expected, {told} found"
    if not found.ledger_balanced:
        yield "the ledger does not balance"


def _sighted(truth: Truth, found: Outcome) -> Iterator[str]:
    if found.sighted is None:
        return
    expected = {picture.name for picture in truth.pictures if shows_a_twin(picture)}
    for name in sorted(expected ^ set(found.sighted)):
        yield f"image {name}: {'a sighting' if name in expected else 'no sighting'} expected, the opposite found"


def _spelt(verdict: str | None, fails: tuple[str, ...]) -> str:
    why = ", ".join(sorted(fails))
    return f"{verdict or 'no verdict'}{f' ({why})' if why else ''}"
