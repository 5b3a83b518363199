"""From a signed webhook to a ledger entry, an alert and a statement, over public interfaces only."""

import base64
import hashlib
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from PIL import Image

from tests.system.pictures import cropped, draw, jpeg
from tests.system.world import World, eventually

NOW = datetime.now(UTC).replace(microsecond=0)


@dataclass(frozen=True)
class Agency:
    """An agency with a talent, a twin, a picture, a brand, and a platform that sends."""

    world: World
    agency_id: str
    key: str
    alert_secret: str
    talent_id: str
    twin_id: str
    brand_id: str
    account: str
    platform: str
    platform_secret: str
    picture: Image.Image

    def license(self, **scope: Any) -> str:
        """Grant the twin to the brand for 101 euros and a cent; 70 % go to the talent."""
        terms = {
            "twin_id": self.twin_id,
            "brand_id": self.brand_id,
            "effective_from": (NOW - timedelta(days=30)).isoformat(),
            "rate_card": {"kind": "flat", "fee": {"minor": 10_101, "currency": "EUR"}},
            "split": [
                {"payee": f"talent:{self.talent_id}", "basis_points": 7_000},
                {"payee": f"agency:{self.agency_id}", "basis_points": 3_000},
            ],
            "scope": {
                "valid_from": (NOW - timedelta(days=30)).isoformat(),
                "valid_until": (NOW + timedelta(days=30)).isoformat(),
                **scope,
            },
        }
        return str(self.world.call("registry", "POST", "/v1/licenses", key=self.key, json=terms)["license_id"])

    def publish(self, post_id: str, image: bytes, **post: Any) -> dict[str, Any]:
        """Publish a post with this image; the outcome that intake answered."""
        url = self.world.images.show(f"{post_id}.jpg", image)
        return self.tell(post_id, {"url": url}, **post)

    def upload(self, post_id: str, image: bytes, **post: Any) -> dict[str, Any]:
        """The same with the image in the webhook: no host serves it."""
        return self.tell(post_id, {"image_base64": base64.b64encode(image).decode()}, **post)

    def tell(self, post_id: str, media: dict[str, str], **post: Any) -> dict[str, Any]:
        """Tell intake of a post with this media item; the outcome that intake answered."""
        content = {"account": self.account, "territories": ["DE"], "media": [media], **post}
        event = {"type": "post.published", "post_id": post_id, "occurred_at": NOW.isoformat(), "post": content}
        answer = self.world.send(self.platform, self.platform_secret, event)
        assert answer.status_code == 202, answer.text
        result: dict[str, Any] = answer.json()["results"][0]
        return result

    def uses(self) -> list[dict[str, Any]]:
        """The uses of the twin, as judging knows them."""
        found = self.world.call("judging", "GET", "/v1/uses", key=self.key, params={"twin_id": self.twin_id})
        items: list[dict[str, Any]] = found if isinstance(found, list) else found["uses"]
        return items

    def verdict_of(self, post_id: str) -> str | None:
        """The verdict of the twin's use in this post, once there is one."""
        return next((use["verdict"] for use in self.uses() if use["post_id"] == post_id), None)

    def statement(self, payee: str) -> dict[str, Any] | None:
        """The payee's statement, with its lines."""
        listed = self.world.call("royalty", "GET", "/v1/statements", params={"payee": payee})
        if not listed:
            return None
        whole: dict[str, Any] = self.world.call("royalty", "GET", f"/v1/statements/{listed[0]['statement_id']}")
        return whole


def make_agency(world: World, seed: int) -> Agency:
    """Everything that a story needs, made through the APIs."""
    name = uuid.uuid4().hex[:8]
    agency_id = world.call("registry", "POST", "/v1/agencies", json={"name": f"Agency {name}"})["agency_id"]
    made = {"name": "tests", "role": "agency", "tenant_id": agency_id}
    key = world.call("registry", "POST", "/v1/api-keys", json=made)["api_key"]
    eventually(lambda: knows(world, key))
    talent = world.call("registry", "POST", "/v1/talents", key=key, json={"name": "A real model"})
    twin = {"name": "A twin", "talent_id": talent["talent_id"]}
    twin_id = world.call("registry", "POST", "/v1/twins", key=key, json=twin)["twin_id"]
    granted = {"twin_id": twin_id, "granted_at": (NOW - timedelta(days=60)).isoformat()}
    world.call("registry", "POST", "/v1/consents", key=key, json=granted)
    platform = f"platform-{name}"
    accounts = [{"platform": platform, "account": "acme"}]
    brand = world.call("registry", "POST", "/v1/brands", json={"name": f"Acme {name}", "accounts": accounts})
    picture = draw(seed)
    before = references(world)
    path = f"/v1/twins/{twin_id}/references"
    world.call("registry", "POST", path, key=key, files={"image": ("a.jpg", jpeg(picture), "image/jpeg")})
    eventually(lambda: references(world) > before)
    world.call("intake", "PUT", f"/v1/platforms/{platform}")
    secret = world.call("intake", "POST", f"/v1/platforms/{platform}/secrets")["secret"]
    url = f"http://{world.receiver.address}/alerts"
    endpoint = world.call("alerts", "POST", "/v1/endpoints", key=key, json={"url": url})
    return Agency(
        world=world,
        agency_id=agency_id,
        key=key,
        alert_secret=endpoint["secret"],
        talent_id=talent["talent_id"],
        twin_id=twin_id,
        brand_id=brand["brand_id"],
        account="acme",
        platform=platform,
        platform_secret=secret,
        picture=picture,
    )


def references(world: World) -> float:
    """How many references matching's index holds."""
    lines = world.clients["matching"].get("/metrics").text if "matching" in world.clients else metrics(world)
    return next(
        float(line.split()[1]) for line in lines.splitlines() if line.startswith("twintally_matching_index_ref")
    )


def metrics(world: World) -> str:
    """Matching's metrics, by a client that later calls reuse."""
    import httpx2

    world.clients["matching"] = httpx2.Client(base_url=world.stack.url("matching"), timeout=20)
    return world.clients["matching"].get("/metrics").text


def knows(world: World, key: str) -> bool:
    """Do the other services know a fresh key yet?"""
    import httpx2

    services = {"judging": "/v1/uses", "alerts": "/v1/endpoints", "royalty": "/v1/statements"}
    headers = {"Authorization": f"Bearer {key}"}
    return all(
        httpx2.get(world.stack.url(service) + path, headers=headers, timeout=10).status_code == 200
        for service, path in services.items()
    )


@pytest.fixture(scope="module")
def agency(world: World) -> Agency:
    return make_agency(world, seed=1)


def test_a_licensed_post_ends_as_a_balanced_ledger_entry_and_statements_to_the_cent(
    world: World, agency: Agency
) -> None:
    agency.license(territories=["DE"])
    post_id = f"licensed-{agency.agency_id}"
    assert agency.publish(post_id, jpeg(cropped(agency.picture), 60))["outcome"] == "accepted"
    eventually(lambda: agency.verdict_of(post_id) == "licensed")
    talent = eventually(lambda: agency.statement(f"talent:{agency.talent_id}"))
    house = eventually(lambda: agency.statement(f"agency:{agency.agency_id}"))
    assert (talent["total_minor"], house["total_minor"]) == (7_071, 3_030)
    [line] = talent["lines"]
    assert line["post_id"] == post_id
    assert line["license_version"] == 1
    balance = world.call("royalty", "GET", "/v1/ledger/balance")
    assert balance["balanced"] is True


def test_the_same_post_again_is_a_duplicate_and_bills_nothing(agency: Agency) -> None:
    post_id = f"licensed-{agency.agency_id}"
    assert agency.publish(post_id, jpeg(cropped(agency.picture), 60))["outcome"] == "duplicate"
    statement = agency.statement(f"talent:{agency.talent_id}")
    assert statement is not None
    assert statement["total_minor"] == 7_071


def test_a_post_outside_the_territory_becomes_a_signed_alert_with_reasons(world: World, agency: Agency) -> None:
    post_id = f"abroad-{agency.agency_id}"
    agency.publish(post_id, jpeg(agency.picture, 70), territories=["US"])
    eventually(lambda: agency.verdict_of(post_id) == "out_of_scope")

    def alert() -> dict[str, Any] | None:
        told = [alert for alert in world.receiver.alerts(agency.alert_secret) if post_id in str(alert)]
        return told[0] if told else None

    found = eventually(alert)
    assert found["type"] == "infringement.opened"
    assert [reason["dimension"] for reason in found["data"]["reasons"]] == ["territory"]
    statement = agency.statement(f"talent:{agency.talent_id}")
    assert statement is not None
    assert statement["total_minor"] == 7_071


def test_a_post_of_a_stranger_is_unlicensed(agency: Agency) -> None:
    post_id = f"stranger-{agency.agency_id}"
    agency.publish(post_id, jpeg(agency.picture, 50), account="nobody-we-know")
    eventually(lambda: agency.verdict_of(post_id) == "unlicensed")


def test_an_uploaded_copy_of_a_reference_ends_as_a_sighting_and_its_alert_has_no_address(
    world: World, agency: Agency
) -> None:
    post_id = f"uploaded-{agency.agency_id}"
    image = jpeg(cropped(agency.picture), 65)
    assert agency.upload(post_id, image, account="nobody-we-know")["outcome"] == "accepted"
    eventually(lambda: agency.verdict_of(post_id) == "unlicensed")
    found = eventually(
        lambda: next((told for told in world.receiver.alerts(agency.alert_secret) if post_id in str(told)), None)
    )
    [sighting] = found["data"]["sightings"]
    digest = f"sha256:{hashlib.sha256(image).hexdigest()}"
    assert (sighting["media"]["digest"], sighting["media"]["url"]) == (digest, None)
    picture = world.clients["matching"].get(f"/v1/media/{digest}", headers={"Authorization": f"Bearer {agency.key}"})
    assert picture.content == image
    assert agency.upload(post_id, image, account="nobody-we-know")["outcome"] == "duplicate"


def test_a_picture_of_nobody_leaves_no_use(agency: Agency) -> None:
    other, known = f"nobody-{agency.agency_id}", f"known-{agency.agency_id}"
    agency.publish(other, jpeg(draw(999), 80))
    agency.publish(known, jpeg(agency.picture, 80), territories=["US"])
    eventually(lambda: agency.verdict_of(known))
    assert agency.verdict_of(other) is None


def test_a_license_that_comes_after_the_post_is_judged_again_and_the_alert_withdrawn(world: World) -> None:
    late = make_agency(world, seed=2)
    post_id = f"late-{late.agency_id}"
    late.publish(post_id, jpeg(late.picture, 70))
    eventually(lambda: late.verdict_of(post_id) == "unlicensed")
    late.license()
    eventually(lambda: late.verdict_of(post_id) == "licensed")
    eventually(lambda: late.statement(f"talent:{late.talent_id}"))
    case = eventually(lambda: world.call("alerts", "GET", "/v1/cases", key=late.key))
    assert "withdrawn" in str(eventually(lambda: case if "withdrawn" in str(case) else reload(world, late)))


def reload(world: World, agency: Agency) -> Any:
    cases = world.call("alerts", "GET", "/v1/cases", key=agency.key)
    return cases if "withdrawn" in str(cases) else None


def test_an_agency_does_not_see_what_is_another_agencys(world: World, agency: Agency) -> None:
    stranger = make_agency(world, seed=3)
    assert stranger.uses() == []
    assert world.call("royalty", "GET", "/v1/statements", key=stranger.key) == []
    use = agency.uses()[0]["use_id"]
    for service, path in (("judging", f"/v1/uses/{use}"), ("registry", f"/v1/twins/{agency.twin_id}")):
        with pytest.raises(AssertionError, match="404"):
            world.call(service, "GET", path, key=stranger.key)
