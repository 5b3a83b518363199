"""What the tests of the console share: the services behind it on loopback ports, real at their edge, kept in memory.

alerts, matching, registry and royalty answer with their own applications, so that the console meets the shapes they
really send; only what lies behind their stores' methods is made up here.
"""

import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from PIL import Image, ImageDraw

from services.alerts.domain import Case, Step
from services.alerts.store import case_of
from services.registry.domain import Agency, Brand, Reference, Talent, Twin
from services.royalty.domain import Trace
from services.royalty.reports import CurrencyBalance, StatementSummary, StatementView
from services.royalty.statements import Posting, statement_of
from shared.access import Caller
from shared.events import InfringementState, Reason, Sighting
from shared.ids import digest_of

NOON = datetime(2026, 11, 2, 12, tzinfo=UTC)
TWIN = "twin_6f1c2a9be0d34f7c8a55b0c9d2e1f3a4"
CALLERS = {
    f"twk_{role}": Caller(f"key_{role}", role, tenant, livemode=True)  # type: ignore[arg-type]
    for role, tenant in (
        ("agency", "a1"),
        ("talent", "t1"),
        ("brand", "b1"),
        ("platform", "instagram"),
        ("finance", None),
        ("operator", None),
    )
} | {
    "twk_sandbox": Caller("key_sandbox", "agency", "a1", livemode=False),
    "twk_other": Caller("key_other", "agency", "a2", livemode=True),
}


class Keys:
    """Knows the keys above, until they are revoked."""

    def __init__(self) -> None:
        self.revoked: set[str] = set()

    async def caller_of(self, api_key: str) -> Caller | None:
        return None if api_key in self.revoked else CALLERS.get(api_key)


def a_picture(*, tint: tuple[int, int, int], size: tuple[int, int] = (640, 800)) -> bytes:
    """A figure before a wall, as JPEG."""
    image = Image.new("RGB", size, tint)
    draw = ImageDraw.Draw(image)
    width, height = size
    for stripe in range(0, width, 40):
        draw.line([(stripe, 0), (stripe + width // 3, height)], fill=tuple(max(0, part - 18) for part in tint), width=9)
    middle = width // 2
    draw.ellipse([middle - 70, height // 5, middle + 70, height // 5 + 170], fill=(226, 178, 150))
    draw.polygon(
        [
            (middle - 190, height),
            (middle - 110, height // 2 - 20),
            (middle + 110, height // 2 - 20),
            (middle + 190, height),
        ],
        fill=(36, 44, 72),
    )
    data = io.BytesIO()
    image.save(data, "JPEG", quality=88)
    return data.getvalue()


PUBLISHED = a_picture(tint=(206, 190, 168), size=(900, 900))
REFERENCE = a_picture(tint=(206, 190, 168))


def a_sighting(**changes: Any) -> Sighting:
    given: dict[str, Any] = {
        "sighting_id": "s1",
        "reference_id": "ref_1",
        "media_digest": digest_of(PUBLISHED),
        "media_url": "https://cdn.example/posts/8841/1.jpg",
        "score": 0.968,
        "region": (130.0, 90.0, 770.0, 890.0),
        "transform": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
        "description": "cropped to 71 %, scaled to 0.84, flipped",
        "algorithm": "tf1",
    }
    return Sighting(**{**given, **changes})


def an_infringement(use_id: str = "use-1", **changes: Any) -> InfringementState:
    given: dict[str, Any] = {
        "use_id": use_id,
        "revision": 1,
        "occurred_at": NOON,
        "verdict": "out_of_scope",
        "reasons": (
            Reason(
                dimension="territory",
                text="Shown in US by the version of 2026-11-02 12:00 UTC; the license covers DE, FR",
                media_digest=digest_of(PUBLISHED),
            ),
            Reason(
                dimension="term",
                text="Started at 2026-11-02 12:00 UTC; the license covers 2026-05-01 00:00 UTC to 2026-11-01 00:00 UTC",
            ),
        ),
        "platform": "instagram",
        "post_id": "17912345678901234",
        "account": "acme.official",
        "twin_id": TWIN,
        "talent_id": "t1",
        "agency_id": "a1",
        "brand_id": "b1",
        "license_id": "lic_0b9d7e51c2f84a3d9a6e7c1f2b3d4e5f",
        "license_version": 2,
        "started_at": NOON,
        "sightings": (a_sighting(), a_sighting(sighting_id="s2", reference_id="ref_2", score=0.914)),
    }
    return InfringementState(**{**given, **changes})


class MemoryCases:
    """Alerts' store without a database; row-level security is the agency's id."""

    def __init__(self) -> None:
        self.rows: dict[str, dict[str, Any]] = {}
        self.steps: dict[str, list[dict[str, Any]]] = {}
        self.alerts: dict[str, list[dict[str, Any]]] = {}
        self.deliveries: dict[str, list[dict[str, Any]]] = {}

    def add(self, found: InfringementState, *, status: str = "open", opened_at: datetime = NOON) -> None:
        self.rows[found.use_id] = {
            "use_id": found.use_id,
            "agency_id": found.agency_id,
            "livemode": found.livemode,
            "status": status,
            "revision": found.revision,
            "sequence": 1,
            "infringement": found.model_dump(mode="json"),
            "told": None,
            "opened_at": opened_at,
        }
        why = "; ".join(reason.text for reason in found.reasons)
        opened = {"kind": "opened", "happened_at": opened_at, "done_by": "judging", "why": why}
        self.steps[found.use_id] = [opened]
        self.alerts[found.use_id] = [{"event_id": "e1", "sequence": 1, "kind": "opened", "digested": False}]
        self.deliveries[found.use_id] = [
            {
                "delivery_id": "d1",
                "event_id": "e1",
                "endpoint_id": "ep1",
                "url": "https://agency.example/webhooks/twintally",
                "status": "delivered",
                "attempts": 2,
                "last_status": 204,
                "last_reason": None,
                "finished_at": opened_at + timedelta(seconds=4),
                "next_try_at": opened_at,
            }
        ]

    async def page(self, caller: Caller, *, status: str | None, limit: int, after: str | None) -> list[dict[str, Any]]:
        seen = sorted(self._of(caller), key=lambda row: (row["opened_at"], row["use_id"]), reverse=True)
        ids = [row["use_id"] for row in seen]
        start = ids.index(after) + 1 if after in ids else 0
        return [row for row in seen[start:] if status in (None, row["status"])][:limit]

    async def whole(self, caller: Caller, use_id: str) -> dict[str, Any] | None:
        row = next((row for row in self._of(caller) if row["use_id"] == use_id), None)
        if row is None:
            return None
        parts = {"steps": self.steps, "alerts": self.alerts, "deliveries": self.deliveries}
        return {"case": row, **{name: rows[use_id] for name, rows in parts.items()}}

    @asynccontextmanager
    async def transaction(self, caller: Caller) -> AsyncIterator["MemoryRows"]:
        yield MemoryRows(self, caller)

    def _of(self, caller: Caller) -> list[dict[str, Any]]:
        return [
            row
            for row in self.rows.values()
            if row["livemode"] == caller.livemode and caller.tenant_id in (None, row["agency_id"])
        ]


class MemoryRows:
    """One transaction of the above."""

    def __init__(self, cases: MemoryCases, caller: Caller) -> None:
        self._cases, self._caller = cases, caller

    async def locked(self, use_id: str) -> Case | None:
        found = await self._cases.whole(self._caller, use_id)
        return None if found is None else case_of(found["case"])

    async def keep(self, case: Case) -> None:
        self._cases.rows[case.infringement.use_id]["status"] = case.status

    async def step(self, found: InfringementState, step: Step) -> None:
        self._cases.steps[found.use_id].append(dict(vars(step)))


def a_posting(minor: int, *, number: int = 1, account: str = "payable:talent:t1", **changes: Any) -> Posting:
    """An entry of the ledger; what a payee earns is a credit, so negative."""
    given: dict[str, Any] = {
        "transaction_id": f"5b0f3c1e-7d0a-5f5e-9b0a-{number:012}",
        "ledger_account": account,
        "minor": minor,
        "currency": "EUR",
        "period": "2026-11",
        "line": "fee",
        "usage_revision": 1,
        "corrects": None,
    }
    trace = Trace(
        use_id=f"6dc37d28-4fb3-545b-88fa-{number:012}",
        platform="instagram",
        post_id=f"post-{number}",
        twin_id="twin-1",
        license_id="lic_0b9d7e51c2f84a3d9a6e7c1f2b3d4e5f",
        license_version=2,
        started_at=NOON + timedelta(hours=number),
    )
    return Posting(**{**given, "trace": trace, **changes})


class MemoryReports:
    """Royalty's reports without a database; each statement is derived by royalty itself."""

    def __init__(self) -> None:
        self.views: list[StatementView] = []
        self.balanced = True

    def add(self, *postings: Posting, status: str = "draft") -> StatementView:
        statement = statement_of(postings)
        view = StatementView(**dict(statement), status=status, digest=statement.content_digest())  # type: ignore[arg-type]
        self.views.append(view)
        return view

    async def statements(
        self, caller: Caller, *, period: str | None, payee: str | None, limit: int, offset: int
    ) -> list[StatementSummary]:
        fitting = [view for view in self._of(caller) if period in (None, view.period) and payee in (None, view.payee)]
        ordered = sorted(fitting, key=lambda view: view.period, reverse=True)[offset : offset + limit]
        return [StatementSummary(**{**dict(view), "lines": len(view.lines)}) for view in ordered]

    async def statement(self, caller: Caller, statement_id: UUID) -> StatementView | None:
        return next((view for view in self._of(caller) if view.statement_id == str(statement_id)), None)

    async def transaction(self, caller: Caller, transaction_id: UUID) -> None:
        return None

    async def balance(self, caller: Caller) -> list[CurrencyBalance]:
        return [
            CurrencyBalance(
                currency="EUR", debits_minor=123_450, credits_minor=123_450, transactions=7, balanced=self.balanced
            )
        ]

    def _of(self, caller: Caller) -> list[StatementView]:
        if not caller.livemode:
            return []
        own = f"{caller.role}:{caller.tenant_id}"
        return [view for view in self.views if caller.role in ("finance", "operator") or view.payee == own]


class Pictures:
    """Matching's view and evidence in memory."""

    def __init__(self) -> None:
        self.kept = {digest_of(PUBLISHED): PUBLISHED, digest_of(REFERENCE): REFERENCE}

    async def may_see(self, caller: Caller, digest: str) -> bool:
        return caller.tenant_id in (None, "a1")

    async def read(self, digest: str) -> bytes:
        if digest not in self.kept:
            raise FileNotFoundError(digest)
        return self.kept[digest]


class MemoryRegistry:
    """Registry's store without a database."""

    def __init__(self) -> None:
        kept: dict[str, Any] = {"livemode": True, "created_at": NOON, "changed_at": NOON}
        self.things: dict[tuple[type, str], Any] = {
            (Agency, "a1"): Agency(agency_id="a1", name="Nordlicht Models", **kept),
            (Brand, "b1"): Brand(brand_id="b1", name="Acme Outdoor", **kept),
            (Talent, "t1"): Talent(talent_id="t1", agency_id="a1", name="Ada Lind", **kept),
            (Twin, TWIN): Twin(twin_id=TWIN, talent_id="t1", agency_id="a1", name="Ada, studio", **kept),
        }
        for reference_id in ("ref_1", "ref_2"):
            self.things[Reference, reference_id] = Reference(
                reference_id=reference_id,
                twin_id=TWIN,
                talent_id="t1",
                agency_id="a1",
                image_digest=digest_of(REFERENCE),
                image_type="image/jpeg",
                image_bytes=len(REFERENCE),
                width_px=640,
                height_px=800,
                algorithm="tf1",
                fingerprint=b"",
                whole_bits=None,
                **kept,
            )

    @asynccontextmanager
    async def desk(self, caller: Caller) -> AsyncIterator["MemoryDesk"]:
        yield MemoryDesk(self.things, caller)


@dataclass(frozen=True)
class MemoryDesk:
    """What a caller sees of the above."""

    things: dict[tuple[type, str], Any]
    caller: Caller

    async def find(self, kind: type, thing_id: str, *, to_change: bool = False) -> Any:
        found = self.things.get((kind, thing_id))
        is_foreign = self.caller.role == "agency" and getattr(found, "agency_id", "a1") != self.caller.tenant_id
        return None if is_foreign and kind is not Brand else found

    async def page(self, kind: type, *, after: str | None, limit: int, wanted: dict[str, str | None]) -> list[Any]:
        return [thing for (of_kind, _), thing in self.things.items() if of_kind is kind][:limit]
