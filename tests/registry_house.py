"""The registry on a real database, spoken to as its callers do."""

import io
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal
from uuid import uuid4

import httpx2
import numpy as np
from fastapi import FastAPI
from PIL import Image, ImageFilter

from services.registry.domain import ApiKey, hash_of_key, made_id, new_key_text
from services.registry.store import KeyTable
from shared.database import Database, every
from shared.events import StateEvent, read_event
from shared.objects import Evidence

Body = dict[str, Any]
Method = Literal["GET", "POST", "PUT", "DELETE"]

TERM = {"valid_from": "2026-01-01T00:00:00Z", "valid_until": "2027-01-01T00:00:00Z"}


@dataclass(frozen=True)
class House:
    """The application and the database under it."""

    app: FastAPI
    worker: Database
    requests: Database
    images: Evidence

    async def operator(self, *, livemode: bool = True) -> "Voice":
        """A new operator."""
        now, text = datetime.now(UTC), new_key_text()
        key = ApiKey(
            api_key_id=made_id("API key", uuid4()),
            key_hash=hash_of_key(text),
            role="operator",
            tenant_id=None,
            agency_id=None,
            name="test",
            livemode=livemode,
            created_at=now,
            changed_at=now,
        )
        assert await KeyTable(self.worker).add_operator(key, beside_others=True)
        return Voice(self, text)

    async def told(self, message_key: str) -> list[StateEvent]:
        """What the outbox holds of one message key, in its order."""
        async with self.worker.transaction() as connection:
            rows = await every(
                connection,
                "select topic, value from outbox where message_key = %s order by position",
                (message_key,),
            )
        states = [read_event(row["topic"], message_key.encode(), bytes(row["value"])) for row in rows]
        return [state for state in states if isinstance(state, StateEvent)]


@dataclass(frozen=True)
class Voice:
    """Whoever holds an API key."""

    house: House
    api_key: str

    async def ask(self, method: Method, path: str, **how: Any) -> httpx2.Response:
        headers = {"Authorization": f"Bearer {self.api_key}", **how.pop("headers", {})}
        transport = httpx2.ASGITransport(app=self.house.app, raise_app_exceptions=False)
        async with httpx2.AsyncClient(transport=transport, base_url="http://registry") as client:
            return await client.request(method, path, headers=headers, **how)

    async def get(self, path: str, status: int = 200, **query: Any) -> Any:
        return _body(await self.ask("GET", path, params=query), status)

    async def post(self, path: str, body: Body | None = None, status: int = 201, *, key: str | None = None) -> Any:
        headers = {"Idempotency-Key": key} if key else {}
        return _body(await self.ask("POST", path, json=body or {}, headers=headers), status)

    async def put(self, path: str, body: Body, status: int = 200) -> Any:
        return _body(await self.ask("PUT", path, json=body), status)

    async def delete(self, path: str, status: int = 204) -> Any:
        return _body(await self.ask("DELETE", path), status)

    async def upload(self, twin_id: str, image: bytes, status: int = 201, *, key: str | None = None) -> Any:
        headers = {"Idempotency-Key": key} if key else {}
        files = {"image": ("picture.jpg", image, "text/html")}
        answer = await self.ask("POST", f"/v1/twins/{twin_id}/references", files=files, headers=headers)
        return _body(answer, status)

    async def voice_of(self, role: str, tenant_id: str | None = None) -> "Voice":
        """A holder of a new key that this caller makes."""
        body = {"name": f"{role} of a test", "role": role, "tenant_id": tenant_id}
        return Voice(self.house, (await self.post("/v1/api-keys", body))["api_key"])


@dataclass(frozen=True)
class Tenant:
    """An agency with a talent, a twin, a consent, and a license to a brand."""

    agency_id: str
    talent_id: str
    twin_id: str
    brand_id: str
    license_id: str
    consent_id: str
    reference_id: str
    agency: Voice
    talent: Voice
    brand: Voice

    def paths(self) -> dict[str, str]:
        """Where each of its things is."""
        return {
            "agency": f"/v1/agencies/{self.agency_id}",
            "talent": f"/v1/talents/{self.talent_id}",
            "twin": f"/v1/twins/{self.twin_id}",
            "license": f"/v1/licenses/{self.license_id}",
            "consent": f"/v1/consents/{self.consent_id}",
            "reference": f"/v1/references/{self.reference_id}",
            "image": f"/v1/references/{self.reference_id}/image",
        }


async def a_tenant(operator: Voice) -> Tenant:
    agency_id = (await operator.post("/v1/agencies", {"name": "Agency"}))["agency_id"]
    brand_id = (await operator.post("/v1/brands", {"name": "Brand"}))["brand_id"]
    agency = await operator.voice_of("agency", agency_id)
    talent_id = (await agency.post("/v1/talents", {"name": "Ada"}))["talent_id"]
    twin_id = (await agency.post("/v1/twins", {"name": "Ada's twin", "talent_id": talent_id}))["twin_id"]
    consent = await agency.post("/v1/consents", {"twin_id": twin_id, "granted_at": TERM["valid_from"]})
    reference = await agency.upload(twin_id, a_picture())
    granted = {"twin_id": twin_id, "brand_id": brand_id, **terms(talent_id, agency_id)}
    license = await agency.post("/v1/licenses", granted)
    return Tenant(
        agency_id,
        talent_id,
        twin_id,
        brand_id,
        license["license_id"],
        consent["consent_id"],
        reference["reference_id"],
        agency,
        await agency.voice_of("talent", talent_id),
        await operator.voice_of("brand", brand_id),
    )


def terms(talent_id: str, agency_id: str, **changes: Any) -> Body:
    """The terms of a license version, as a request has them."""
    split = [
        {"payee": f"talent:{talent_id}", "basis_points": 7_000},
        {"payee": f"agency:{agency_id}", "basis_points": 3_000},
    ]
    card = {"kind": "flat", "fee": {"minor": 25_000, "currency": "EUR"}}
    known = {"scope": TERM, "rate_card": card, "split": split, "effective_from": TERM["valid_from"]}
    return {**known, **changes}


def a_picture(seed: int | None = None, side_px: int = 320) -> bytes:
    """A picture with enough texture to be recognised; another one each time without a seed."""
    noise = np.random.default_rng(seed).integers(0, 256, (side_px // 8, side_px // 8, 3), dtype=np.uint8)
    picture = Image.fromarray(noise).resize((side_px, side_px), Image.Resampling.NEAREST)
    return encoded(picture.filter(ImageFilter.GaussianBlur(1.5)))


def encoded(picture: Image.Image, form: str = "JPEG") -> bytes:
    """The file of a picture."""
    file = io.BytesIO()
    picture.save(file, form)
    return file.getvalue()


def _body(answer: httpx2.Response, status: int) -> Any:
    assert answer.status_code == status, f"{answer.status_code} instead of {status}: {answer.text}"
    return answer.json() if answer.content else None
