"""Sets the scene through the public APIs: parties, twins, references, grants, keys, endpoints, platforms."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from infra.demo.cast import PLATFORMS, REFERENCES_PER_TWIN, Cast, Consent, License, Talent
from infra.demo.gallery import reference_path
from infra.demo.house import House, wait_for
from infra.demo.truth import Truth

UPLOADS_AT_ONCE = 4
INDEX_S = 60.0

Step = Callable[[int, int], None]


def set_parties(house: House, cast: Cast) -> None:
    """Agencies with their keys, brands with their accounts, talents with their twins and consents; platforms."""
    for agency in cast.agencies:
        house.learn(f"agency:{agency}", house.make("/v1/agencies", agency, json={"name": agency})["agency_id"])
        house.keys[agency] = new_key(house, "agency", agency)
    for brand in cast.brands.values():
        accounts = [{"platform": platform, "account": name} for platform, name in brand.accounts.items()]
        made = house.make("/v1/brands", brand.name, json={"name": brand.name, "accounts": accounts})
        house.learn(f"brand:{brand.name}", made["brand_id"])
    with ThreadPoolExecutor(UPLOADS_AT_ONCE) as pool:
        list(pool.map(lambda talent: _set_talent(house, talent, cast.consents[talent.name]), cast.talents.values()))
    for platform in PLATFORMS:
        house.call("intake", "PUT", f"/v1/platforms/{platform}")
        house.secrets[platform] = house.call("intake", "POST", f"/v1/platforms/{platform}/secrets")["secret"]


def new_key(house: House, role: str, name: str | None = None) -> str:
    """An API key for a tenant of the demo, or for a role without one."""
    asked: dict[str, Any] = {"name": f"demo {role} {name or ''}".strip(), "role": role}
    if name is not None:
        asked["tenant_id"] = house.ids[f"{role}:{name}"]
    return str(house.make("/v1/api-keys", f"key-{role}-{name}", json=asked)["api_key"])


def set_references(house: House, cast: Cast, folder: Path, step: Step, *, index_s: float = INDEX_S) -> None:
    """Upload every reference, then wait until matching has them all in its index, for `index_s` at most."""
    total, done = len(cast.talents) * REFERENCES_PER_TWIN, 0

    def upload(job: tuple[Talent, int]) -> None:
        talent, number = job
        image = reference_path(folder, talent.name, number).read_bytes()
        made = house.make(
            f"/v1/twins/{house.ids[f'twin:{talent.name}']}/references",
            f"{talent.name}-{number}",
            key=house.keys[talent.agency],
            files={"image": ("reference.jpg", image, "image/jpeg")},
        )
        house.learn(f"reference:{talent.name}-{number}", made["reference_id"])

    jobs = [(talent, number) for talent in cast.talents.values() for number in range(REFERENCES_PER_TWIN)]
    with ThreadPoolExecutor(UPLOADS_AT_ONCE) as pool:
        for _ in pool.map(upload, jobs):
            done += 1
            step(done, 2 * total)

    def indexed() -> int:
        return int(sum(house.metric("matching", "twintally_matching_index_references").values()))

    def whole() -> bool:
        step(total + min(total, indexed()), 2 * total)
        return indexed() >= total

    wait_for(whole, within_s=index_s, otherwise=lambda: f"matching's index has {indexed()} of {total} references")


def set_licenses(house: House, cast: Cast) -> None:
    """Grant all that stands before the first post."""
    with ThreadPoolExecutor(UPLOADS_AT_ONCE) as pool:
        list(pool.map(lambda license: grant(house, cast, license), cast.licenses.values()))


def set_endpoints(house: House, cast: Cast) -> None:
    """Let each agency hear of its cases; its receiver learns the secret."""
    for agency in cast.agencies:
        asked = {"url": f"{house.receiver_url}/{agency}"}
        made = house.call("alerts", "POST", "/v1/endpoints", key=house.keys[agency], json=asked)
        house.http.put(f"{house.control_url}/secrets/{agency}", content=made["secret"]).raise_for_status()


def grant(house: House, cast: Cast, license: License) -> None:
    """Grant one license, by its agency."""
    talent = cast.talents[license.twin]
    split = {f"talent:{house.ids[f'talent:{license.twin}']}": license.talent_basis_points}
    split[f"agency:{house.ids[f'agency:{talent.agency}']}"] = 10_000 - license.talent_basis_points
    asked = {
        "twin_id": house.ids[f"twin:{license.twin}"],
        "brand_id": house.ids[f"brand:{license.brand}"],
        "effective_from": license.valid_from.isoformat(),
        "rate_card_id": _card(house, license),
        "split": [{"payee": payee, "basis_points": part} for payee, part in split.items() if part],
        "scope": {
            "platforms": license.platforms,
            "territories": license.territories,
            "valid_from": license.valid_from.isoformat(),
            "valid_until": license.valid_until.isoformat(),
        },
    }
    made = house.make("/v1/licenses", license.name, key=house.keys[talent.agency], json=asked)
    house.learn(f"license:{license.name}", made["license_id"])


def change_minds(house: House, truth: Truth) -> None:
    """What is learnt after the posts: a license arrives late, another was terminated before its post."""
    for license in truth.cast.late.values():
        grant(house, truth.cast, license)
    for name, moment in truth.cast.terminated.items():
        agency = truth.cast.talents[truth.cast.licenses[name].twin].agency
        path = f"/v1/licenses/{house.ids[f'license:{name}']}/termination"
        told = {"terminated_at": moment.isoformat()}
        house.call("registry", "POST", path, key=house.keys[agency], json=told)


def _set_talent(house: House, talent: Talent, consent: Consent) -> None:
    key, name, since = house.keys[talent.agency], talent.name, consent.granted_at.isoformat()
    asked: dict[str, Any] = {"name": f"Talent {name}", "represented_from": since}
    made = house.make("/v1/talents", f"talent-{name}", key=key, json=asked)
    house.learn(f"talent:{name}", made["talent_id"])
    asked = {"name": f"Twin {name}", "talent_id": made["talent_id"]}
    twin = house.make("/v1/twins", f"twin-{name}", key=key, json=asked)["twin_id"]
    house.learn(f"twin:{name}", twin)
    asked = {"twin_id": twin, "granted_at": since}
    given = house.make("/v1/consents", f"consent-{name}", key=key, json=asked)
    if consent.withdrawn_at is not None:
        path = f"/v1/consents/{given['consent_id']}/withdrawal"
        house.call("registry", "POST", path, key=key, json={"withdrawn_at": consent.withdrawn_at.isoformat()})


def _card(house: House, license: License) -> str:
    """A rate card of the operator's for this fee, which the license copies."""
    fee = {"minor": license.fee_minor, "currency": license.currency}
    name = f"flat {license.fee_minor} {license.currency}"
    asked = {"name": name, "kind": "flat", "fee": fee}
    return str(house.make("/v1/rate-cards", f"card-{license.fee_minor}-{license.currency}", json=asked)["rate_card_id"])
