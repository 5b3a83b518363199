"""The rules of judging, one at a time."""

from collections.abc import Sequence
from datetime import timedelta

import pytest

from services.judging.domain import Licensed, NoUse, OutOfScope, Unlicensed, Use, Verdict, choose, judge
from services.judging.domain import version_in_force as in_force
from shared.events import BrandState, ConsentState, LicenseState, SocialAccount, UseSeen
from shared.ids import digest_of
from tests.builders import (
    IMAGE,
    NOON,
    ONE_DAY,
    ONE_HOUR,
    a_brand,
    a_consent,
    a_license,
    a_scope,
    a_sighting,
    a_use_seen,
    a_version,
    a_version_seen,
)

INSTANT = timedelta(microseconds=1)
PARTNER = a_brand(party_id="b2", accounts=(SocialAccount(platform="instagram", account="partner"),))


def verdict(
    seen: UseSeen | None = None,
    *,
    licenses: Sequence[LicenseState] = (a_license(),),
    consents: Sequence[ConsentState] = (a_consent(),),
    brands: Sequence[BrandState] = (a_brand(),),
) -> Verdict:
    use = Use.known_with(seen or a_use_seen(), brands)
    return judge(use, choose(use, licenses, consents), consents)


def failed(found: Verdict) -> list[str]:
    return [reason.dimension for reason in found.reasons]


def scoped(**scope: object) -> LicenseState:
    return a_license(versions=(a_version(scope=a_scope(**scope)),))


def shown(**version: object) -> UseSeen:
    return a_use_seen(versions=(a_version_seen(**version),))


def test_a_use_within_its_license_is_licensed():
    assert verdict() == Licensed(a_license(), a_license().versions[0])


def test_an_account_of_no_brand_is_unlicensed():
    assert failed(verdict(brands=())) == ["account"]
    assert isinstance(verdict(brands=()), Unlicensed)


def test_a_brand_without_a_license_of_this_twin_is_unlicensed():
    found = verdict(licenses=[a_license(brand_id="b9")])
    assert isinstance(found, Unlicensed)
    assert failed(found) == ["license"]


def test_the_same_account_on_another_platform_is_another_account():
    elsewhere = a_brand(accounts=(SocialAccount(platform="tiktok", account="acme"),))
    assert isinstance(verdict(brands=[elsewhere]), Unlicensed)


def test_a_partner_in_a_paid_partnership_suffices():
    seen = shown(account="influencer", partner_accounts=("acme",), paid_partnership=True)
    assert isinstance(verdict(seen), Licensed)


def test_a_partner_without_paid_partnership_does_not_count():
    seen = shown(account="influencer", partner_accounts=("acme",))
    assert failed(verdict(seen)) == ["account"]


def test_one_license_of_any_candidate_brand_suffices():
    seen = shown(account="acme", partner_accounts=("partner",), paid_partnership=True)
    licenses = [a_license(license_id="lic-1", brand_id="b1", versions=scoped(platforms=("tiktok",)).versions)]
    licenses.append(a_license(license_id="lic-2", brand_id="b2"))
    found = verdict(seen, licenses=licenses, brands=[a_brand(), PARTNER])
    assert isinstance(found, Licensed)
    assert found.license.license_id == "lic-2"


def test_of_equal_licenses_the_lowest_id_is_chosen_whatever_their_order():
    licenses = [a_license(license_id=name) for name in ("lic-3", "lic-1", "lic-2")]
    chosen = [verdict(licenses=order) for order in (licenses, licenses[::-1])]
    assert {found.license.license_id for found in chosen if isinstance(found, Licensed)} == {"lic-1"}


def test_the_license_with_the_fewest_failures_is_chosen():
    two_wrong = scoped(platforms=("tiktok",), territories=("US",)).model_copy(update={"license_id": "lic-0"})
    found = verdict(licenses=[two_wrong, scoped(platforms=("tiktok",))])
    assert failed(found) == ["platform"]


def test_a_platform_outside_the_scope_fails():
    found = verdict(licenses=[scoped(platforms=("tiktok", "mastodon"))])
    assert isinstance(found, OutOfScope)
    assert found.reasons[0].text == "Published on instagram; the license covers mastodon, tiktok"


def test_no_list_of_platforms_means_any():
    assert isinstance(verdict(licenses=[scoped(platforms=None)]), Licensed)


def test_an_empty_list_of_platforms_means_none():
    assert failed(verdict(licenses=[scoped(platforms=())])) == ["platform"]


def test_every_known_territory_must_be_in_scope():
    found = verdict(shown(territories=("DE", "US")), licenses=[scoped(territories=("DE", "FR"))])
    assert failed(found) == ["territory"]
    assert "US" in found.reasons[0].text


def test_the_reason_names_the_media_item_shown_in_the_territory():
    found = verdict(shown(territories=("US",)), licenses=[scoped(territories=("DE",))])
    assert found.reasons[0].media_digest == IMAGE


def test_unknown_territories_pass():
    assert isinstance(verdict(shown(territories=()), licenses=[scoped(territories=("DE",))]), Licensed)


def test_no_list_of_territories_means_any():
    assert isinstance(verdict(shown(territories=("US",)), licenses=[scoped(territories=None)]), Licensed)


@pytest.mark.parametrize(
    ("valid_from", "valid_until", "expected"),
    [
        (NOON, NOON + ONE_DAY, []),
        (NOON + INSTANT, NOON + ONE_DAY, ["term"]),
        (NOON - ONE_DAY, NOON, ["term"]),
        (NOON - ONE_DAY, NOON + INSTANT, []),
    ],
)
def test_a_term_covers_its_first_instant_and_not_its_last(valid_from, valid_until, expected):
    assert failed(verdict(licenses=[scoped(valid_from=valid_from, valid_until=valid_until)])) == expected


@pytest.mark.parametrize(("terminated_at", "expected"), [(NOON, ["term"]), (NOON + INSTANT, []), (None, [])])
def test_a_license_must_be_terminated_after_the_start(terminated_at, expected):
    assert failed(verdict(licenses=[a_license(terminated_at=terminated_at)])) == expected


@pytest.mark.parametrize(
    ("granted_at", "withdrawn_at", "expected"),
    [
        (NOON, None, []),
        (NOON + INSTANT, None, ["consent"]),
        (NOON - ONE_DAY, NOON, ["consent"]),
        (NOON - ONE_DAY, NOON + INSTANT, []),
    ],
)
def test_a_consent_must_stand_at_the_start(granted_at, withdrawn_at, expected):
    assert failed(verdict(consents=[a_consent(granted_at=granted_at, withdrawn_at=withdrawn_at)])) == expected


def test_without_any_consent_the_use_is_out_of_scope():
    assert isinstance(verdict(consents=()), OutOfScope)


def test_one_standing_consent_suffices():
    withdrawn = a_consent(consent_id="con-0", withdrawn_at=NOON - ONE_HOUR)
    assert isinstance(verdict(consents=[withdrawn, a_consent()]), Licensed)


def test_a_use_that_outlives_its_license_stays_licensed():
    seen = a_use_seen(ended_at=NOON + 400 * ONE_DAY)
    assert isinstance(verdict(seen, licenses=[scoped(valid_until=NOON + ONE_DAY)]), Licensed)


def test_every_version_must_pass():
    later = a_version_seen(
        event_id="e2",
        shown_from=NOON + ONE_HOUR,
        territories=("US",),
        sightings=(a_sighting(media_digest=digest_of(b"second")),),
    )
    seen = a_use_seen(versions=(a_version_seen(shown_until=NOON + ONE_HOUR), later))
    found = verdict(seen, licenses=[scoped(territories=("DE",))])
    assert failed(found) == ["territory"]
    assert "the version of 2026-11-02 13:00:00 UTC" in found.reasons[0].text
    assert found.reasons[0].media_digest == digest_of(b"second")


def test_a_brand_must_stand_behind_every_version():
    later = a_version_seen(event_id="e2", shown_from=NOON + ONE_HOUR, account="partner")
    seen = a_use_seen(versions=(a_version_seen(shown_until=NOON + ONE_HOUR), later))
    assert failed(verdict(seen, brands=[a_brand(), PARTNER])) == ["account"]


def test_each_failed_dimension_gives_one_reason():
    license = scoped(platforms=("tiktok",), territories=("US",), valid_until=NOON - ONE_HOUR)
    found = verdict(licenses=[license], consents=())
    assert failed(found) == ["consent", "platform", "territory", "term"]


def test_the_newest_version_that_has_taken_effect_is_in_force():
    versions = [a_version(version=number, effective_from=NOON + (number - 2) * ONE_HOUR) for number in (1, 2, 3)]
    license = a_license(versions=tuple(versions))
    assert in_force(license, NOON) == versions[1]
    assert in_force(license, NOON - INSTANT) == versions[0]
    assert in_force(license, NOON - ONE_DAY) is None


def test_a_license_that_takes_effect_later_does_not_cover_the_use():
    found = verdict(licenses=[a_license(versions=(a_version(effective_from=NOON + ONE_HOUR),))])
    assert isinstance(found, OutOfScope)
    assert found.version is None
    assert failed(found) == ["term"]


def test_a_native_repost_by_an_account_of_no_brand_is_no_use():
    assert verdict(shown(account="fan", reposts="p0")) == NoUse()


def test_a_repost_by_a_brand_is_a_use():
    assert isinstance(verdict(shown(reposts="p0")), Licensed)


def test_a_live_use_knows_live_brands_only():
    sandbox = a_brand(livemode=False)
    assert isinstance(verdict(brands=[sandbox]), Unlicensed)
    assert isinstance(verdict(a_use_seen(livemode=False), brands=[sandbox]), Licensed)
