"""The truth of the demo is whole, agrees with itself, and knows nothing of what it judges."""

import ast
import sys
from collections import Counter
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path

import pytest

from infra.demo.cast import PLATFORMS, cast_of
from infra.demo.truth import (
    Truth,
    judged,
    pictures_of,
    shared,
    shares_of,
    statements,
    truth_of,
    verdicts,
)

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def truth() -> Truth:
    return truth_of(NOW)


@pytest.mark.parametrize("module", ["cast", "story", "scenes", "truth"])
def test_the_truth_imports_only_the_standard_library_and_its_own_kind(project: Path, module: str) -> None:
    tree = ast.parse((project / "infra" / "demo" / f"{module}.py").read_text())
    names = {each.name for node in ast.walk(tree) if isinstance(node, ast.Import) for each in node.names}
    names |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    own = {"infra.demo.cast", "infra.demo.story", "infra.demo.scenes"}
    assert {name for name in names if name.partition(".")[0] not in sys.stdlib_module_names} <= own


def test_the_job_is_of_real_size(truth: Truth) -> None:
    cast = truth.cast
    assert (len(cast.agencies), len(cast.brands), len(cast.talents)) == (2, 3, 30)
    assert all(set(brand.accounts) == set(PLATFORMS) for brand in cast.brands.values())
    assert len({(fact.platform, fact.post) for fact in truth.facts}) >= 120
    assert len(truth.pictures) >= 180
    assert {license.currency for license in cast.licenses.values()} == {"EUR", "JPY"}


def test_every_kind_of_trouble_is_played(truth: Truth) -> None:
    assert set(verdicts(truth.uses)) == {"licensed", "out_of_scope", "unlicensed", "no_use"}
    fails = {dimension for use in truth.uses for dimension in use.last.fails}
    assert fails == {"territory", "term", "platform", "consent", "account", "license"}
    assert {picture.served for picture in truth.pictures} == {"shown", "undecodable", "stalls_once", "stalls"}
    edits = {edit for picture in truth.pictures for edit in picture.edits}
    assert edits == {"recompress", "resize", "crop", "flip", "caption", "screenshot", "recolour"}
    kinds = Counter(fact.kind for fact in truth.facts)
    assert min(kinds[kind] for kind in ("published", "edited", "deleted", "measured")) >= 3
    assert truth.duplicates > 0
    assert any(use.first.verdict == "unlicensed" and use.last.verdict == "licensed" for use in truth.uses)
    assert any(use.first.verdict == "licensed" and use.last.verdict == "out_of_scope" for use in truth.uses)


def test_some_facts_are_told_before_what_happened_earlier(truth: Truth) -> None:
    told: dict[tuple[str, str], list[datetime]] = {}
    for sending in truth.sendings:
        for fact in sending.facts:
            told.setdefault((fact.platform, fact.post), []).append(fact.occurred_at)
    assert sum(moments != sorted(moments) for moments in told.values()) >= 4


def test_a_webhook_speaks_of_one_platform_and_every_fact_is_sent(truth: Truth) -> None:
    assert all(fact.platform == sending.platform for sending in truth.sendings for fact in sending.facts)
    sent = sum(len(sending.facts) for sending in truth.sendings)
    assert sent == truth.accepted + truth.duplicates
    assert len(truth.facts) == truth.accepted


def test_each_use_is_told_once_and_shows_its_twin(truth: Truth) -> None:
    names = [(use.platform, use.post, use.twin) for use in truth.uses]
    assert len(set(names)) == len(names)
    shown = {
        (fact.platform, fact.post, picture.twin)
        for fact in truth.facts
        for picture in pictures_of(fact)
        if picture.twin and picture.served != "stalls"
    }
    assert set(names) == shown


def test_what_is_licensed_names_a_license_of_that_twin_and_nothing_else_does(truth: Truth) -> None:
    for use in truth.uses:
        for true in (use.first, use.last):
            assert (true.verdict == "licensed") == (true.license is not None)
            assert (true.verdict in ("unlicensed", "out_of_scope")) == bool(true.fails)
            if true.license is not None:
                assert truth.cast.license_of(true.license).twin == use.twin


@pytest.mark.parametrize("at_last", [True, False])
def test_statements_add_up_to_the_fees_in_each_currency(truth: Truth, at_last: bool) -> None:
    fees: Counter[str] = Counter()
    for use in truth.uses:
        name = judged(use, at_last=at_last).license
        if name is not None:
            license = truth.cast.license_of(name)
            fees[license.currency] += license.fee_minor
    earned: Counter[str] = Counter()
    owed: Counter[str] = Counter()
    for payee, minor in statements(truth, at_last=at_last).items():
        (owed if payee.startswith("brand:") else earned)[payee.partition(" ")[2]] += minor
    assert earned == owed == fees


def test_no_share_is_a_whole_unit_away_from_its_exact_part(truth: Truth) -> None:
    for license in truth.cast.licenses.values():
        given = shares_of(truth.cast, license)
        exact = Fraction(license.fee_minor * license.talent_basis_points, 10_000)
        assert abs(given[f"talent:{license.twin} {license.currency}"] - exact) < 1
    rests = {license.fee_minor * license.talent_basis_points % 10_000 for license in truth.cast.licenses.values()}
    assert 5_000 in rests, "a half cent must be among them, for it decides who comes first"


def test_half_a_cent_goes_to_the_lower_name() -> None:
    assert shared(101, {"talent:t1": 5_000, "agency:a1": 5_000}) == {"talent:t1": 50, "agency:a1": 51}
    assert shared(100, {"a": 3_333, "b": 3_333, "c": 3_334}) == {"a": 33, "b": 33, "c": 34}


def test_the_same_moment_tells_the_same_story() -> None:
    assert truth_of(NOW) == truth_of(NOW)
    assert cast_of(NOW) == cast_of(NOW)
