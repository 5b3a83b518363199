"""Parties, references and keys: their states, their ids, their ends."""

from dataclasses import replace
from uuid import UUID

from services.registry.domain import (
    ApiKey,
    Brand,
    Reference,
    SamePicture,
    Talent,
    as_told,
    hash_of_key,
    in_order,
    made_id,
    new_key_text,
    repeatable,
)
from shared.events import Representation, SocialAccount, decoded_bytes
from tests.builders import IMAGE, NOON, ONE_HOUR

KEPT = {"livemode": True, "created_at": NOON, "changed_at": NOON}
LATER = NOON + ONE_HOUR


def a_brand(*accounts: str) -> Brand:
    return Brand(brand_id="brand_1", name="Acme", accounts=in_order(map(an_account, accounts)), **KEPT)


def an_account(name: str) -> SocialAccount:
    return SocialAccount(platform="instagram", account=name)


def a_reference() -> Reference:
    return Reference(
        reference_id="ref_1",
        twin_id="twin_1",
        talent_id="talent_1",
        agency_id="agency_1",
        image_digest=IMAGE,
        image_type="image/jpeg",
        image_bytes=5,
        width_px=640,
        height_px=480,
        algorithm="tf1",
        fingerprint=b"\x00print",
        whole_bits="01" * 128,
        **KEPT,
    )


def a_key(**changes) -> ApiKey:
    key = ApiKey(
        api_key_id="key_1",
        key_hash=hash_of_key("twk_x"),
        role="agency",
        tenant_id="agency_1",
        agency_id="agency_1",
        name="laptop",
        **KEPT,
    )
    return replace(key, **changes)


def test_an_id_says_what_it_names():
    assert made_id("twin", UUID(int=255)) == "twin_000000000000000000000000000000ff"
    assert made_id("rate card", UUID(int=1)).startswith("card_")


def test_the_same_idempotency_key_of_the_same_caller_gives_the_same_id_and_of_anyone_else_another():
    mine = {"role": "agency", "tenant_id": "agency_1", "livemode": True}
    first = repeatable("twin", "k", **mine)
    assert repeatable("twin", "k", **mine) == first
    others = [mine | {"tenant_id": "agency_2"}, mine | {"livemode": False}, {**mine, "role": "talent"}]
    assert first not in {repeatable("twin", "k", **other) for other in others}
    assert repeatable("talent", "k", **mine) != first


def test_a_state_tells_the_time_stored_in_the_row_and_no_name():
    state = replace(a_brand("acme"), changed_at=LATER).state(3)
    assert (state.revision, state.occurred_at, state.message_key()) == (3, LATER, "brand:brand_1")
    assert b"Acme" not in state.encode()


def test_the_accounts_of_a_brand_are_the_same_in_any_order():
    brand = a_brand("b", "a")
    assert brand.with_accounts([an_account("a"), an_account("b"), an_account("a")], LATER) is brand
    changed = brand.with_accounts([an_account("a")], LATER)
    assert (changed.accounts, changed.changed_at) == ((an_account("a"),), LATER)


def test_a_talent_tells_who_represents_it_since_when():
    represented = (Representation(agency_id="agency_1", from_=NOON),)
    talent = Talent(talent_id="talent_1", agency_id="agency_1", name="Ada", represented=represented, **KEPT)
    assert talent.state(1).represented == represented


def test_a_withdrawn_reference_has_no_fingerprint_and_is_withdrawn_once():
    reference = a_reference()
    assert decoded_bytes(reference.state(1).fingerprint) == b"\x00print"
    gone = reference.withdrawn(LATER)
    assert (gone.state(2).status, gone.state(2).fingerprint, gone.changed_at) == ("withdrawn", "", LATER)
    assert gone.whole_bits is None
    assert gone.withdrawn(LATER + ONE_HOUR) is gone


def test_who_has_the_same_picture_is_named_within_the_agency_and_to_the_operator_only():
    mine = a_reference()
    double, sister = replace(mine, reference_id="ref_2"), replace(mine, reference_id="ref_3", twin_id="twin_2")
    foreign = [
        replace(mine, reference_id=name, twin_id=f"twin_{name}", agency_id=f"agency_{name}") for name in ("x", "y")
    ]
    within = (
        SamePicture("same_twin", "ref_2", "twin_1", "agency_1"),
        SamePicture("another_twin", "ref_3", "twin_2", "agency_1"),
    )
    others = [double, *foreign, sister]
    told = as_told(mine, others, to_operator=False)
    assert set(told) == {*within, SamePicture("another_agency")}
    assert len(told) == 3
    known = [SamePicture("another_agency", name, f"twin_{name}", f"agency_{name}") for name in ("x", "y")]
    assert set(as_told(mine, others, to_operator=True)) == {*within, *known}


def test_a_revoked_key_stays_revoked():
    gone = a_key().revoked(LATER)
    assert gone.state(2).status == "withdrawn"
    assert gone.revoked(LATER + ONE_HOUR) is gone


def test_a_key_text_is_long_random_and_told_by_its_hash_only():
    text = new_key_text()
    assert text.startswith("twk_")
    assert len(text) == 4 + 43
    assert new_key_text() != text
    assert text.encode() not in a_key(key_hash=hash_of_key(text)).state(1).encode()
