"""The registry's API on real PostgreSQL: who may what, what is told, and what a repeat does."""

import asyncio
from collections.abc import AsyncIterator
from importlib import import_module
from io import BytesIO

import numpy as np
import psycopg
import pytest
from PIL import Image

from services.registry.api import Parts, build_app
from services.registry.domain import Twin
from services.registry.press import ThreadPress
from services.registry.settings import RegistrySettings
from services.registry.store import Gallery, KeyTable, Store
from shared.access import Caller
from shared.database import Database, every
from shared.events import BrandState, LicenseState, ReferenceState, TalentState, TwinState, decoded_bytes
from shared.fingerprints import Fingerprint
from shared.ids import digest_of
from shared.objects import Evidence, open_store
from tests.builders import NOON
from tests.registry_house import House, Tenant, Voice, a_picture, a_tenant, encoded, terms


@pytest.fixture(scope="session")
async def house(stack) -> AsyncIterator[House]:
    worker = Database(stack.database_for("registry_worker"), "registry", connections_max=4)
    requests = Database(stack.database_for("registry_api"), "registry")
    await worker.open()
    await requests.open()
    settings = RegistrySettings(
        kafka=stack.kafka,
        database_worker=stack.database_for("registry_worker"),
        database_api=stack.database_for("registry_api"),
        http_port=1,
        store="memory://",
        image_bytes_max=200_000,
        body_bytes_max=20_000,
    )
    images = Evidence(open_store("memory://"))
    app = build_app(settings, Parts(Store(requests), ThreadPress(2), images, KeyTable(requests), Gallery(worker)))
    yield House(app, worker, requests, images)
    await requests.close()
    await worker.close()


@pytest.fixture(scope="session")
async def operator(house: House) -> Voice:
    return await house.operator()


@pytest.fixture(scope="session")
async def ours(operator: Voice) -> Tenant:
    return await a_tenant(operator)


@pytest.fixture(scope="session")
async def theirs(operator: Voice) -> Tenant:
    return await a_tenant(operator)


# -- the wall between tenants


async def test_an_agency_reads_its_own_and_finds_nothing_of_another(ours: Tenant, theirs: Tenant):
    for path in ours.paths().values():
        assert (await ours.agency.ask("GET", path)).status_code == 200
        assert (await theirs.agency.ask("GET", path)).status_code == 404


async def test_an_agency_changes_nothing_of_another(house: House, ours: Tenant, theirs: Tenant):
    stranger = theirs.agency
    paths = ours.paths()
    grant = {"twin_id": ours.twin_id, "brand_id": theirs.brand_id, **terms(ours.talent_id, ours.agency_id)}
    await stranger.post("/v1/twins", {"name": "Stolen", "talent_id": ours.talent_id}, 404)
    await stranger.post("/v1/talents", {"name": "Stolen", "agency_id": ours.agency_id}, 404)
    await stranger.post("/v1/consents", {"twin_id": ours.twin_id}, 404)
    await stranger.post("/v1/licenses", grant, 404)
    await stranger.post(f"{paths['license']}/versions", terms(ours.talent_id, ours.agency_id), 404)
    await stranger.post(f"{paths['license']}/termination", {}, 404)
    await stranger.post(f"{paths['consent']}/withdrawal", {}, 404)
    await stranger.upload(ours.twin_id, a_picture(), 404)
    await stranger.delete(paths["reference"], 404)
    key = {"name": "Stolen", "role": "talent", "tenant_id": ours.talent_id}
    await stranger.post("/v1/api-keys", key, 404)
    assert len(await house.told(ours.license_id)) == 1
    assert len(await house.told(ours.consent_id)) == 1


async def test_lists_hold_the_callers_own_only(ours: Tenant, theirs: Tenant):
    for kind in ("agencies", "talents", "twins", "references", "licenses", "consents", "api-keys"):
        own = await ours.agency.get(f"/v1/{kind}", limit=1000)
        assert own
        assert theirs.agency_id not in str(own)
        assert theirs.talent_id not in str(own)


async def test_an_agency_neither_sees_nor_revokes_keys_of_another(operator: Voice, ours: Tenant, theirs: Tenant):
    (key, *_) = await operator.get("/v1/api-keys", role="agency", tenant_id=ours.agency_id)
    await theirs.agency.get(f"/v1/api-keys/{key['api_key_id']}", 404)
    await theirs.agency.delete(f"/v1/api-keys/{key['api_key_id']}", 404)
    await ours.agency.get(f"/v1/api-keys/{key['api_key_id']}")


async def test_a_talent_reads_its_own_and_a_brand_its_licenses(ours: Tenant, theirs: Tenant):
    for kind in ("talent", "twin", "license", "consent", "reference", "image"):
        assert (await ours.talent.ask("GET", ours.paths()[kind])).status_code == 200
        assert (await theirs.talent.ask("GET", ours.paths()[kind])).status_code == 404
    await ours.brand.get(ours.paths()["license"])
    await theirs.brand.get(ours.paths()["license"], 404)
    assert [each["license_id"] for each in await ours.brand.get("/v1/licenses")] == [ours.license_id]
    await ours.brand.get(ours.paths()["twin"], 403)
    await ours.brand.get(f"/v1/brands/{theirs.brand_id}")


async def test_roles_do_only_what_is_theirs(operator: Voice, ours: Tenant):
    finance = await operator.voice_of("finance")
    platform = await operator.voice_of("platform", "instagram")
    await ours.agency.post("/v1/agencies", {"name": "Mine"}, 403)
    await ours.agency.post("/v1/brands", {"name": "Mine"}, 403)
    await ours.agency.put(f"/v1/brands/{ours.brand_id}/accounts", {"accounts": []}, 403)
    await ours.agency.post("/v1/rate-cards", {"name": "Mine", "fee": {"minor": 1, "currency": "EUR"}}, 403)
    await ours.agency.post("/v1/api-keys", {"name": "Mine", "role": "operator"}, 422)
    await ours.talent.post("/v1/talents", {"name": "Mine"}, 403)
    await ours.talent.delete(ours.paths()["reference"], 403)
    await finance.get("/v1/twins", 403)
    await platform.get("/v1/licenses", 403)
    await Voice(ours.agency.house, "twk_guessed").get("/v1/brands", 401)


async def test_the_sandbox_and_the_live_mode_do_not_see_each_other(house: House, ours: Tenant):
    sandbox = await house.operator(livemode=False)
    for path in (*ours.paths().values(), f"/v1/brands/{ours.brand_id}"):
        assert (await sandbox.ask("GET", path)).status_code == 404
    agency = await sandbox.post("/v1/agencies", {"name": "Try"})
    assert agency["livemode"] is False
    (state,) = await house.told(f"agency:{agency['agency_id']}")
    assert state.livemode is False


async def test_the_database_itself_keeps_the_wall(house: House, ours: Tenant):
    tables = ("agencies", "talents", "twins", "image_references", "licenses", "license_versions", "consents")
    async with house.requests.transaction() as connection:
        for table in (*tables, "brands", "brand_accounts", "rate_cards", "representations", "api_keys"):
            assert await every(connection, f"select * from {table}") == []
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="outbox"):
        async with house.requests.transaction() as connection:
            await connection.execute("select value from outbox")


async def test_the_database_itself_refuses_a_row_for_another_tenant_or_mode(house: House, ours: Tenant, theirs: Tenant):
    for agency_id, livemode in ((ours.agency_id, True), (theirs.agency_id, False)):
        caller = Caller("key", "agency", theirs.agency_id, livemode=True)
        twin = Twin(
            twin_id="twin_forged",
            talent_id=ours.talent_id,
            agency_id=agency_id,
            name="Forged",
            livemode=livemode,
            created_at=NOON,
            changed_at=NOON,
        )
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="row-level security"):
            async with Store(house.requests).desk(caller) as desk:
                await desk.add(twin, "digest")


# -- what is told


async def test_each_change_is_told_once_with_a_growing_revision_and_the_time_in_the_row(house: House, operator: Voice):
    brand = await operator.post("/v1/brands", {"name": "Acme", "accounts": []})
    path = f"/v1/brands/{brand['brand_id']}/accounts"
    account = {"platform": "instagram", "account": brand["brand_id"]}
    changed = await operator.put(path, {"accounts": [account]})
    await operator.put(path, {"accounts": [account, account]})
    told = await house.told(f"brand:{brand['brand_id']}")
    assert [state.revision for state in told] == [1, 2]
    last = told[-1]
    assert isinstance(last, BrandState)
    assert [each.account for each in last.accounts] == [brand["brand_id"]]
    assert last.occurred_at.isoformat().replace("+00:00", "Z") == changed["changed_at"]


async def test_a_tenants_things_are_told_as_states(house: House, ours: Tenant):
    (talent,) = await house.told(f"talent:{ours.talent_id}")
    (twin,) = await house.told(f"twin:{ours.twin_id}")
    (license,) = await house.told(ours.license_id)
    (reference,) = await house.told(ours.reference_id)
    assert isinstance(talent, TalentState)
    assert [each.agency_id for each in talent.represented] == [ours.agency_id]
    assert isinstance(twin, TwinState)
    assert (twin.talent_id, twin.agency_id) == (ours.talent_id, ours.agency_id)
    assert isinstance(license, LicenseState)
    assert license.versions[0].rate_card.fee.minor == 25_000
    assert isinstance(reference, ReferenceState)
    assert Fingerprint.from_bytes(decoded_bytes(reference.fingerprint)).size_px == (320, 320)
    assert await house.told(f"agency:{ours.agency_id}")
    assert await house.told(ours.consent_id)


async def test_an_account_speaks_for_one_brand(operator: Voice):
    first = await operator.post("/v1/brands", {"name": "First", "accounts": [{"platform": "x", "account": "shared"}]})
    body = {"name": "Second", "accounts": [{"platform": "x", "account": "shared"}]}
    assert first["brand_id"] in (await operator.post("/v1/brands", body, 409))["detail"]
    second = await operator.post("/v1/brands", {"name": "Second"})
    await operator.put(f"/v1/brands/{second['brand_id']}/accounts", {"accounts": body["accounts"]}, 409)


# -- repeats


async def test_a_repeat_under_an_idempotency_key_makes_nothing_new(house: House, ours: Tenant):
    body = {"name": "Grace"}
    first = await ours.agency.post("/v1/talents", body, key="k-1")
    assert await ours.agency.post("/v1/talents", body, 200, key="k-1") == first
    await ours.agency.post("/v1/talents", {"name": "Grace Hopper"}, 409, key="k-1")
    assert len(await house.told(f"talent:{first['talent_id']}")) == 1
    other = await ours.agency.post("/v1/talents", body)
    assert other["talent_id"] != first["talent_id"]


async def test_equal_requests_at_once_make_one_thing(ours: Tenant):
    headers = {"Idempotency-Key": "at-once"}
    asked = [ours.agency.ask("POST", "/v1/talents", json={"name": "Lin"}, headers=headers) for _ in range(6)]
    answers = await asyncio.gather(*asked)
    assert sorted(answer.status_code for answer in answers) == [200, 200, 200, 200, 200, 201]
    assert len({answer.json()["talent_id"] for answer in answers}) == 1


async def test_the_same_idempotency_key_of_two_agencies_names_two_things(ours: Tenant, theirs: Tenant):
    mine = await ours.agency.post("/v1/talents", {"name": "One"}, key="same")
    yours = await theirs.agency.post("/v1/talents", {"name": "One"}, key="same")
    assert mine["talent_id"] != yours["talent_id"]


# -- keys


async def test_a_fresh_key_works_at_once_and_a_revoked_one_no_more(house: House, ours: Tenant):
    body = {"name": "phone", "role": "talent", "tenant_id": ours.talent_id}
    made = await ours.agency.post("/v1/api-keys", body, key="phone-1")
    talent = Voice(house, made["api_key"])
    await talent.get(ours.paths()["talent"])
    assert (await ours.agency.post("/v1/api-keys", body, 200, key="phone-1"))["api_key"] is None
    await talent.get(ours.paths()["talent"])
    await ours.agency.delete(f"/v1/api-keys/{made['api_key_id']}")
    await talent.get(ours.paths()["talent"], 401)
    told = await house.told(made["api_key_id"])
    assert [(state.revision, state.status) for state in told] == [(1, "active"), (2, "withdrawn")]
    assert made["api_key"].encode() not in b"".join(state.encode() for state in told)


async def test_a_key_needs_the_tenant_of_its_role(operator: Voice, ours: Tenant):
    await operator.post("/v1/api-keys", {"name": "x", "role": "agency"}, 422)
    await operator.post("/v1/api-keys", {"name": "x", "role": "finance", "tenant_id": ours.agency_id}, 422)
    await operator.post("/v1/api-keys", {"name": "x", "role": "agency", "tenant_id": ours.brand_id}, 404)
    await operator.post("/v1/api-keys", {"name": "x", "role": "platform", "tenant_id": "Not a name"}, 422)


# -- licenses and consents


async def test_versions_of_a_license_are_only_added(house: House, theirs: Tenant):
    path = f"{theirs.paths()['license']}/versions"
    dearer = {"kind": "flat", "fee": {"minor": 30_000, "currency": "EUR"}}
    body = terms(theirs.talent_id, theirs.agency_id, rate_card=dearer, effective_from="2026-06-01T00:00:00Z")
    before = await theirs.agency.get(theirs.paths()["license"])
    after = await theirs.agency.post(path, body, key="v2")
    assert await theirs.agency.post(path, body, 200, key="v2") == after
    await theirs.agency.post(path, {**body, "effective_from": "2026-07-01T00:00:00Z"}, 409, key="v2")
    assert [each["rate_card"]["fee"]["minor"] for each in after["versions"]] == [25_000, 30_000]
    assert after["versions"][0] == before["versions"][0]
    await theirs.agency.post(path, {**body, "effective_from": "2026-02-01T00:00:00Z"}, 409)
    assert [state.revision for state in await house.told(theirs.license_id)] == [1, 2]
    with pytest.raises(psycopg.errors.Error, match=r"denied|append-only"):
        async with house.worker.transaction() as connection:
            await connection.execute("update license_versions set version = 9")


async def test_a_license_ends_from_a_moment_on(house: House, operator: Voice):
    tenant = await a_tenant(operator)
    path = f"{tenant.paths()['license']}/termination"
    ended = await tenant.agency.post(path, {"terminated_at": "2026-09-01T00:00:00Z"}, 200)
    assert ended["terminated_at"] == "2026-09-01T00:00:00Z"
    assert await tenant.agency.post(path, {"terminated_at": "2026-09-01T00:00:00Z"}, 200) == ended
    await tenant.agency.post(path, {"terminated_at": "2026-10-01T00:00:00Z"}, 409)
    assert len(await house.told(tenant.license_id)) == 2


async def test_a_kept_rate_card_is_copied_by_value(operator: Voice, ours: Tenant, theirs: Tenant):
    finance = await operator.voice_of("finance")
    offered = await finance.post("/v1/rate-cards", {"name": "Standard", "fee": {"minor": 900, "currency": "USD"}})
    body = {"name": "Theirs", "agency_id": theirs.agency_id, "fee": {"minor": 1, "currency": "EUR"}}
    private = await finance.post("/v1/rate-cards", body)
    grant = {"twin_id": ours.twin_id, "brand_id": ours.brand_id, **terms(ours.talent_id, ours.agency_id)}
    del grant["rate_card"]
    license = await ours.agency.post("/v1/licenses", {**grant, "rate_card_id": offered["rate_card_id"]})
    assert license["versions"][0]["rate_card"] == {"kind": "flat", "fee": {"minor": 900, "currency": "USD"}}
    await ours.agency.post("/v1/licenses", {**grant, "rate_card_id": private["rate_card_id"]}, 404)
    await operator.post("/v1/licenses", {**grant, "rate_card_id": private["rate_card_id"]}, 404)
    seen = {each["rate_card_id"] for each in await ours.agency.get("/v1/rate-cards", limit=1000)}
    assert offered["rate_card_id"] in seen
    assert private["rate_card_id"] not in seen


async def test_a_split_with_a_stranger_is_refused_by_name(ours: Tenant):
    split = [{"payee": "talent:talent_nobody", "basis_points": 10_000}]
    grant = {"twin_id": ours.twin_id, "brand_id": ours.brand_id, **terms(ours.talent_id, ours.agency_id, split=split)}
    (problem,) = (await ours.agency.post("/v1/licenses", grant, 422))["detail"]
    assert problem["loc"] == ["body", "split"]
    assert "talent_nobody" in problem["msg"]


async def test_a_talent_withdraws_its_consent_itself(house: House, operator: Voice):
    tenant = await a_tenant(operator)
    path = f"{tenant.paths()['consent']}/withdrawal"
    await tenant.agency.post("/v1/consents", {"twin_id": tenant.twin_id}, 409)
    gone = await tenant.talent.post(path, {}, 200)
    assert gone["withdrawn_at"]
    assert await tenant.talent.post(path, {}, 200) == gone
    assert [state.revision for state in await house.told(tenant.consent_id)] == [1, 2]
    again = await tenant.agency.post("/v1/consents", {"twin_id": tenant.twin_id})
    assert again["consent_id"] != tenant.consent_id


# -- references


async def test_a_reference_is_kept_and_shown_as_the_image_that_it_is(house: House, ours: Tenant):
    image = encoded(Image.open(BytesIO(a_picture())), "PNG")
    reference = await ours.agency.upload(ours.twin_id, image)
    assert (reference["image_type"], reference["image_digest"]) == ("image/png", digest_of(image))
    assert await house.images.read(reference["image_digest"]) == image
    shown = await ours.talent.ask("GET", f"/v1/references/{reference['reference_id']}/image")
    assert shown.content == image
    assert shown.headers["content-type"] == "image/png"
    assert shown.headers["x-content-type-options"] == "nosniff"


async def test_the_same_image_of_the_same_twin_is_the_same_reference(house: House, ours: Tenant):
    image = a_picture()
    first = await ours.agency.upload(ours.twin_id, image)
    assert await ours.agency.upload(ours.twin_id, image, 200) == first
    assert await ours.agency.upload(ours.twin_id, image, 200, key="again") == first
    assert len(await house.told(first["reference_id"])) == 1


async def test_the_same_image_of_another_twin_is_refused_and_named_within_the_agency_only(ours: Tenant, theirs: Tenant):
    image = a_picture()
    first = await ours.agency.upload(ours.twin_id, image)
    twin = await ours.agency.post("/v1/twins", {"name": "Second", "talent_id": ours.talent_id})
    inside = (await ours.agency.upload(twin["twin_id"], image, 409))["detail"]
    outside = (await theirs.agency.upload(theirs.twin_id, image, 409))["detail"]
    assert first["reference_id"] in inside
    assert ours.twin_id in inside
    assert not any(name in outside for name in (first["reference_id"], ours.twin_id, ours.agency_id))


async def test_a_withdrawn_reference_is_told_without_fingerprint_and_frees_its_image(house: House, ours: Tenant):
    image = a_picture()
    first = await ours.agency.upload(ours.twin_id, image)
    path = f"/v1/references/{first['reference_id']}"
    await ours.agency.delete(path)
    await ours.agency.delete(path)
    told = await house.told(first["reference_id"])
    assert [(state.revision, state.status, bool(state.fingerprint)) for state in told] == [
        (1, "active", True),
        (2, "withdrawn", False),
    ]
    assert (await ours.agency.get(path))["status"] == "withdrawn"
    assert (await ours.agency.upload(ours.twin_id, image))["reference_id"] != first["reference_id"]


async def test_an_image_that_cannot_be_a_reference_is_refused_with_its_reason(ours: Tenant):
    (broken,) = (await ours.agency.upload(ours.twin_id, b"no image", 422))["detail"]
    assert (broken["loc"], broken["type"]) == (["body", "image"], "undecodable")
    plain = encoded(Image.fromarray(np.full((200, 200), 130, np.uint8)))
    (refused,) = (await ours.agency.upload(ours.twin_id, plain, 422))["detail"]
    assert refused["type"] == "too_plain"
    assert refused["measured"]["points"] < refused["needed"]["points"] == 40
    assert "0 points that stand out where 40 are needed" in refused["msg"]
    await ours.agency.upload(ours.twin_id, b"x" * 200_001, 413)
    await ours.agency.upload(ours.twin_id, b"x" * 2_000_000, 413)
    await ours.agency.upload("twin_nobody", a_picture(), 404)
    answer = await ours.agency.ask("POST", f"/v1/twins/{ours.twin_id}/references", json={"image": "x"})
    assert answer.status_code == 422


def saved_again(image: bytes, how: Image.Transpose | None = None) -> bytes:
    """The same picture as another file."""
    picture = Image.open(BytesIO(image)).convert("RGB").resize((280, 280))
    return encoded(picture if how is None else picture.transpose(how))


async def test_a_picture_that_its_twin_has_already_is_kept_and_reported(ours: Tenant):
    image = a_picture()
    first = await ours.agency.upload(ours.twin_id, image)
    assert first["same_picture"] == []
    second = await ours.agency.upload(ours.twin_id, saved_again(image, Image.Transpose.FLIP_LEFT_RIGHT))
    assert second["status"] == "active"
    assert second["same_picture"] == [
        {
            "whose": "same_twin",
            "reference_id": first["reference_id"],
            "twin_id": ours.twin_id,
            "agency_id": ours.agency_id,
        }
    ]
    (seen,) = await ours.agency.get(f"/v1/references/{first['reference_id']}/same-pictures")
    assert seen["reference_id"] == second["reference_id"]


async def test_the_picture_of_another_twin_is_reported_with_its_names_within_the_agency(ours: Tenant):
    image = a_picture()
    first = await ours.agency.upload(ours.twin_id, image)
    twin = await ours.agency.post("/v1/twins", {"name": "Second", "talent_id": ours.talent_id})
    (same,) = (await ours.agency.upload(twin["twin_id"], saved_again(image)))["same_picture"]
    assert (same["whose"], same["reference_id"], same["twin_id"]) == (
        "another_twin",
        first["reference_id"],
        ours.twin_id,
    )


async def test_of_another_agency_only_the_operator_learns_whose_the_same_picture_is(
    ours: Tenant, theirs: Tenant, operator: Voice
):
    image = a_picture()
    first = await ours.agency.upload(ours.twin_id, image)
    await ours.agency.upload(ours.twin_id, saved_again(image, Image.Transpose.ROTATE_90))
    second = await theirs.agency.upload(theirs.twin_id, saved_again(image))
    nameless = {"whose": "another_agency", "reference_id": None, "twin_id": None, "agency_id": None}
    assert second["same_picture"] == [nameless]
    path = f"/v1/references/{second['reference_id']}/same-pictures"
    assert await theirs.agency.get(path) == [nameless]
    seen = await operator.get(path)
    assert first["reference_id"] in [each["reference_id"] for each in seen]
    assert {(each["whose"], each["twin_id"], each["agency_id"]) for each in seen} == {
        ("another_agency", ours.twin_id, ours.agency_id)
    }
    assert (await ours.agency.ask("GET", path)).status_code == 404


async def test_references_from_before_the_hash_had_a_column_have_it_too(house: House, ours: Tenant):
    backfill = "('x' || encode(substring(fingerprint from 24 for 32), 'hex'))::bit(256)"
    migration = import_module("services.registry.migrations.0003_whole_bits")
    assert f"set whole_bits = {backfill}" in migration.UPGRADE
    async with house.worker.transaction() as connection:
        rows = await every(
            connection,
            f"select whole_bits, {backfill} as filled from image_references where status = 'active'",
        )
    assert rows
    assert all(row["whole_bits"] == row["filled"] for row in rows)


async def test_a_withdrawn_reference_and_the_other_mode_are_not_reported(house: House, ours: Tenant):
    image = a_picture()
    first = await ours.agency.upload(ours.twin_id, image)
    await ours.agency.delete(f"/v1/references/{first['reference_id']}")
    second = await ours.agency.upload(ours.twin_id, saved_again(image))
    assert second["same_picture"] == []
    assert await ours.agency.get(f"/v1/references/{first['reference_id']}/same-pictures") == []
    sandbox = await a_tenant(await house.operator(livemode=False))
    assert (await sandbox.agency.upload(sandbox.twin_id, saved_again(image)))["same_picture"] == []


# -- bad input


@pytest.mark.parametrize(
    "body",
    [
        b"[]",
        b'{"name": ""}',
        b'{"name": "a\\u0000b"}',
        b'{"name": "\\ud800"}',
        b'{"name": "x", "represented_from": "0001-01-01T00:00:00+14:00"}',
        b'{"name": "x", "represented_from": "yesterday"}',
        b'{"name": "x", "unknown": 1}',
        b'{"name": "x", "\\ud800": 1}',
    ],
)
async def test_bad_fields_are_refused_without_a_fault(ours: Tenant, body: bytes):
    answer = await ours.agency.ask("POST", "/v1/talents", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 422, answer.text
    assert answer.json()["detail"]


@pytest.mark.parametrize("body", [b"{", b"\xff\xfe", b'{"name": "\xff"}'])
async def test_a_body_that_is_not_json_is_400(ours: Tenant, body: bytes):
    answer = await ours.agency.ask("POST", "/v1/talents", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400, answer.text
    assert answer.json()["detail"]


async def test_bodies_and_ids_have_limits(ours: Tenant):
    answer = await ours.agency.ask("POST", "/v1/talents", content=b" " * 20_001)
    assert answer.status_code == 413
    await ours.agency.get("/v1/talents/%00", 422)
    await ours.agency.post("/v1/talents", {"name": "x"}, 422, key="k" * 201)
    await ours.agency.get("/v1/talents", 422, limit=0)


async def test_lists_are_read_page_by_page_in_the_order_of_making(operator: Voice):
    tenant = await a_tenant(operator)
    names = [f"Twin {number}" for number in range(5)]
    for name in names:
        await tenant.agency.post("/v1/twins", {"name": name, "talent_id": tenant.talent_id})
    read: list[str] = []
    after: dict[str, str] = {}
    while page := await tenant.agency.get("/v1/twins", limit=2, **after):
        read += [twin["name"] for twin in page]
        after = {"after": page[-1]["twin_id"]}
    assert read == ["Ada's twin", *names]
    await tenant.agency.get("/v1/twins", 404, after="twin_nobody")
