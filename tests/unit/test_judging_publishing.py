"""What a verdict makes of the published states."""

from services.judging.publishing import HeldUse, Knowledge, Published, conclude
from shared.events import InfringementState, Reading, UsageState
from tests.builders import (
    NOON,
    ONE_DAY,
    ONE_HOUR,
    a_brand,
    a_consent,
    a_license,
    a_sighting,
    a_twin,
    a_use_seen,
    a_version_seen,
    an_infringement,
)
from tests.builders import a_usage as published_usage

LICENSED = Knowledge(licenses=(a_license(),), consents=(a_consent(),), brands=(a_brand(),), twin=a_twin())
OUT_OF_SCOPE = Knowledge(licenses=(a_license(),), brands=(a_brand(),), twin=a_twin())
UNLICENSED = Knowledge(twin=a_twin())
NOTHING = Published()


def after(knowledge, published=NOTHING, *, seen=None, fresh=True):
    return conclude(HeldUse(seen or a_use_seen(), published), knowledge, fresh=fresh)


def test_a_licensed_use_becomes_an_active_usage_with_card_and_split_by_value():
    usage = after(LICENSED).published.usage
    assert isinstance(usage, UsageState)
    version = a_license().versions[0]
    assert (usage.status, usage.rate_card, usage.split) == ("active", version.rate_card, version.split)
    assert after(LICENSED).published.infringement is None


def test_an_out_of_scope_use_becomes_an_open_infringement_that_names_its_license():
    found = after(OUT_OF_SCOPE).published.infringement
    assert isinstance(found, InfringementState)
    assert (found.status, found.verdict, found.license_id, found.license_version) == (
        "open",
        "out_of_scope",
        "lic-1",
        1,
    )


def test_an_unlicensed_use_goes_to_the_agency_of_the_twin():
    found = after(Knowledge(twin=a_twin(agency_id="a7", talent_id="t7"))).published.infringement
    assert isinstance(found, InfringementState)
    assert (found.agency_id, found.talent_id, found.license_id, found.brand_id) == ("a7", "t7", None, None)


def test_without_its_twin_nobody_can_be_told():
    assert after(Knowledge()).published == Published()


def test_a_usage_that_no_longer_holds_is_void():
    before = Published(usage=published_usage())
    assert after(OUT_OF_SCOPE, before).published.usage == published_usage(status="void")


def test_an_infringement_that_no_longer_holds_is_withdrawn():
    before = Published(infringement=an_infringement())
    assert after(LICENSED, before).published.infringement == an_infringement(status="withdrawn")


def test_nothing_is_taken_back_that_was_never_published():
    assert after(UNLICENSED).published.usage is None
    assert after(LICENSED).published.infringement is None


def test_a_repost_by_a_fan_takes_back_what_was_published():
    seen = a_use_seen(versions=(a_version_seen(account="fan", reposts="p0"),))
    published = after(UNLICENSED, Published(published_usage(), an_infringement()), seen=seen).published
    assert published.usage is not None
    assert published.infringement is not None
    assert (published.usage.status, published.infringement.status) == ("void", "withdrawn")


def test_an_accusation_waits_for_fresh_lookup_data():
    conclusion = after(UNLICENSED, fresh=False)
    assert conclusion.awaiting_fresh
    assert conclusion.published == Published()


def test_taking_a_usage_back_waits_as_well():
    before = Published(usage=published_usage())
    assert after(OUT_OF_SCOPE, before, fresh=False).published == before


def test_a_licensed_use_waits_for_nothing():
    conclusion = after(LICENSED, Published(infringement=an_infringement()), fresh=False)
    assert not conclusion.awaiting_fresh
    assert conclusion.published.infringement == an_infringement(status="withdrawn")


def test_end_and_readings_travel_into_both_states():
    reading = Reading(measured_at=NOON + ONE_HOUR, impressions=5)
    seen = a_use_seen(ended_at=NOON + ONE_DAY, readings=(reading,), occurred_at=NOON + ONE_DAY)
    usage = after(LICENSED, seen=seen).published.usage
    infringement = after(UNLICENSED, seen=seen).published.infringement
    assert usage is not None
    assert infringement is not None
    assert (usage.ended_at, usage.readings, usage.occurred_at) == (NOON + ONE_DAY, (reading,), NOON + ONE_DAY)
    assert (infringement.ended_at, infringement.occurred_at) == (NOON + ONE_DAY, NOON + ONE_DAY)


def test_a_picture_in_two_versions_is_one_sighting():
    seen = a_use_seen(versions=(a_version_seen(), a_version_seen(event_id="e2", shown_from=NOON + ONE_HOUR)))
    found = after(UNLICENSED, seen=seen).published.infringement
    assert found is not None
    assert found.sightings == (a_sighting(),)


def test_a_sandbox_license_never_covers_a_live_use():
    sandbox = Knowledge(
        licenses=(a_license(livemode=False),), consents=(a_consent(),), brands=(a_brand(),), twin=a_twin()
    )
    found = after(sandbox).published.infringement
    assert found is not None
    assert found.verdict == "unlicensed"


def test_livemode_and_backfill_travel_into_the_states():
    seen = a_use_seen(livemode=False, backfill=True)
    found = after(UNLICENSED, seen=seen).published.infringement
    assert found is not None
    assert (found.livemode, found.backfill) == (False, True)
