"""Licenses and consents: what is added, and how they end."""

from typing import Any

import pytest
from pydantic import ValidationError

from services.registry.licensing import Consent, License, NotPossible, strangers_in
from services.registry.requests import NewLicense, NewVersion
from shared.events import FlatCard, LicenseVersion, Scope, Share, Split
from shared.money import Money
from tests.builders import NOON, ONE_DAY, ONE_HOUR

KEPT = {"livemode": True, "created_at": NOON, "changed_at": NOON}
NOW = NOON + ONE_HOUR


def a_version(number: int = 1, *, effective_from=NOON) -> LicenseVersion:
    return LicenseVersion(
        version=number,
        effective_from=effective_from,
        scope=Scope(valid_from=NOON, valid_until=NOON + ONE_DAY),
        rate_card=FlatCard(fee=Money(minor=100, currency="EUR")),
        split=a_split("talent:talent_1", "agency:agency_1"),
    )


def a_split(talent: str, agency: str) -> Split:
    return Split(shares=(Share(payee=talent, basis_points=7_000), Share(payee=agency, basis_points=3_000)))


def a_license(**changes: Any) -> License:
    known: dict[str, Any] = {
        "license_id": "lic_1",
        "agency_id": "agency_1",
        "talent_id": "talent_1",
        "twin_id": "twin_1",
        "brand_id": "brand_1",
        "versions": (a_version(),),
        **KEPT,
    }
    return License(**{**known, **changes})


def a_consent(**changes: Any) -> Consent:
    known: dict[str, Any] = {
        "consent_id": "con_1",
        "talent_id": "talent_1",
        "agency_id": "agency_1",
        "twin_id": "twin_1",
        "granted_at": NOON,
        **KEPT,
    }
    return Consent(**{**known, **changes})


def asked(**changes: Any) -> dict[str, Any]:
    body = {
        "scope": {"valid_from": "2026-11-01T00:00:00Z", "valid_until": "2026-12-01T00:00:00Z"},
        "rate_card": {"fee": {"minor": 100, "currency": "EUR"}},
        "split": [{"payee": "talent:talent_1", "basis_points": 10_000}],
        "effective_from": "2026-11-01T00:00:00Z",
    }
    return {**body, **changes}


def test_a_new_version_joins_the_ones_before_it():
    longer = a_license().with_version(a_version(2, effective_from=NOW), NOW)
    assert isinstance(longer, License)
    assert longer.versions[0] == a_version()
    assert [version.version for version in longer.state(2).versions] == [1, 2]
    assert longer.changed_at == NOW


def test_a_version_that_would_change_terms_of_the_past_is_not_possible():
    refused = a_license().with_version(a_version(2, effective_from=NOON - ONE_HOUR), NOW)
    assert isinstance(refused, NotPossible)
    assert "effective_from" in refused.reason


def test_a_version_may_correct_the_last_one_from_its_first_moment():
    assert isinstance(a_license().with_version(a_version(2, effective_from=NOON), NOW), License)


def test_a_version_after_the_termination_is_not_possible():
    ended = a_license(terminated_at=NOW)
    assert isinstance(ended.with_version(a_version(2, effective_from=NOW), NOW), NotPossible)
    assert isinstance(ended.with_version(a_version(2, effective_from=NOON), NOW), License)


def test_a_termination_repeated_changes_nothing():
    ended = a_license().terminated(None, NOW)
    assert isinstance(ended, License)
    assert ended.terminated_at == NOW
    assert ended.terminated(None, NOW + ONE_HOUR) is ended
    assert ended.terminated(NOW, NOW + ONE_HOUR) is ended


def test_an_end_is_brought_forward_but_never_put_off():
    ended = a_license(terminated_at=NOW + ONE_DAY)
    assert isinstance(ended.terminated(NOW + 2 * ONE_DAY, NOW), NotPossible)
    sooner = ended.terminated(NOW + ONE_HOUR, NOW)
    assert isinstance(sooner, License)
    assert sooner.terminated_at == NOW + ONE_HOUR


def test_a_talent_says_stop_now_although_a_later_end_was_known():
    stopped = a_consent(withdrawn_at=NOW + ONE_DAY).withdrawn(None, NOW)
    assert isinstance(stopped, Consent)
    assert (stopped.withdrawn_at, stopped.changed_at) == (NOW, NOW)


def test_a_consent_cannot_end_before_it_began():
    assert isinstance(a_consent().withdrawn(NOON - ONE_HOUR, NOW), NotPossible)


def test_only_the_twins_talent_and_its_agency_are_paid():
    parties = {"talent_id": "talent_1", "agency_id": "agency_1"}
    assert strangers_in(a_split("talent:talent_1", "agency:agency_1"), **parties) == []
    assert strangers_in(a_split("talent:talent_2", "agency:agency_1"), **parties) == ["talent:talent_2"]


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"rate_card_id": "card_1"}, "rate_card"),
        ({"rate_card": None}, "rate_card"),
        ({"rate_card": {"fee": {"minor": 1.5, "currency": "EUR"}}}, "minor"),
        ({"rate_card": {"fee": {"minor": -1, "currency": "EUR"}}}, "minor"),
        ({"split": [{"payee": "talent:talent_1", "basis_points": 9_999}]}, "10000"),
        ({"split": [{"payee": "someone", "basis_points": 10_000}]}, "payee"),
        ({"scope": {**asked()["scope"], "territory": ["DE"]}}, "territory"),
        ({"scope": {**asked()["scope"], "territories": []}}, "territories"),
        ({"scope": {**asked()["scope"], "valid_until": "2026-11-01T00:00:00Z"}}, "valid_until"),
        ({"scope": {**asked()["scope"], "valid_until": "2026-12-01T00:00:00"}}, "valid_until"),
        ({"effective_from": None}, "effective_from"),
        ({"extra": 1}, "extra"),
    ],
)
def test_terms_that_cannot_be_right_are_refused_by_name(changes, named):
    with pytest.raises(ValidationError, match=named):
        NewVersion.model_validate(asked(**changes))


def test_a_scope_loses_repeats_and_keeps_its_limits():
    body = NewLicense.model_validate(
        asked(twin_id="twin_1", brand_id="brand_1", scope={**asked()["scope"], "territories": ["FR", "DE", "FR"]})
    )
    assert body.scope.plain().territories == ("DE", "FR")
    assert body.scope.plain().platforms is None
