"""Routes of agencies, brands, talents and twins."""

from fastapi import FastAPI, Response

from services.registry.api.answers import (
    AgencyOrOperator,
    AgencyReader,
    Anyone,
    IdempotencyKey,
    Limit,
    OperatorOnly,
    TalentSide,
    answer,
    ask,
    listed,
    shown,
)
from services.registry.domain import Agency, Brand, Kind, Talent, Twin
from services.registry.handlers import parties
from services.registry.handlers.desk import Store
from services.registry.requests import BrandAccounts, NewAgency, NewBrand, NewTalent, NewTwin
from shared.web import After, IdInPath, IdInQuery

AGENCY: tuple[Kind, type[Agency]] = ("agency", Agency)
BRAND: tuple[Kind, type[Brand]] = ("brand", Brand)
TALENT: tuple[Kind, type[Talent]] = ("talent", Talent)
TWIN: tuple[Kind, type[Twin]] = ("twin", Twin)


def add_routes(app: FastAPI, store: Store) -> None:
    """Add them."""
    _agencies(app, store)
    _brands(app, store)
    _talents(app, store)
    _twins(app, store)


def _agencies(app: FastAPI, store: Store) -> None:
    @app.post("/v1/agencies")
    async def register(
        body: NewAgency, caller: OperatorOnly, response: Response, idempotency_key: IdempotencyKey = None
    ) -> Agency:
        return await answer("agency", parties.register_agency(store, ask(caller, idempotency_key), body), response)

    @app.get("/v1/agencies")
    async def every(caller: AgencyReader, after: After = None, limit: Limit = 100) -> list[Agency]:
        return await listed(store, caller, AGENCY, (after, limit))

    @app.get("/v1/agencies/{agency_id}")
    async def one(agency_id: IdInPath, caller: AgencyReader) -> Agency:
        return await shown(store, caller, AGENCY, agency_id)


def _brands(app: FastAPI, store: Store) -> None:
    @app.post("/v1/brands")
    async def register(
        body: NewBrand, caller: OperatorOnly, response: Response, idempotency_key: IdempotencyKey = None
    ) -> Brand:
        return await answer("brand", parties.register_brand(store, ask(caller, idempotency_key), body), response)

    @app.put("/v1/brands/{brand_id}/accounts")
    async def set_accounts(brand_id: IdInPath, body: BrandAccounts, caller: OperatorOnly) -> Brand:
        """Give a brand exactly these accounts."""
        return await answer("brand", parties.set_accounts(store, ask(caller), brand_id, body))

    @app.get("/v1/brands")
    async def every(caller: Anyone, after: After = None, limit: Limit = 100) -> list[Brand]:
        return await listed(store, caller, BRAND, (after, limit))

    @app.get("/v1/brands/{brand_id}")
    async def one(brand_id: IdInPath, caller: Anyone) -> Brand:
        return await shown(store, caller, BRAND, brand_id)


def _talents(app: FastAPI, store: Store) -> None:
    @app.post("/v1/talents")
    async def register(
        body: NewTalent, caller: AgencyOrOperator, response: Response, idempotency_key: IdempotencyKey = None
    ) -> Talent:
        return await answer("talent", parties.register_talent(store, ask(caller, idempotency_key), body), response)

    @app.get("/v1/talents")
    async def every(
        caller: TalentSide, agency_id: IdInQuery = None, after: After = None, limit: Limit = 100
    ) -> list[Talent]:
        return await listed(store, caller, TALENT, (after, limit), agency_id=agency_id)

    @app.get("/v1/talents/{talent_id}")
    async def one(talent_id: IdInPath, caller: TalentSide) -> Talent:
        return await shown(store, caller, TALENT, talent_id)


def _twins(app: FastAPI, store: Store) -> None:
    @app.post("/v1/twins")
    async def register(
        body: NewTwin, caller: AgencyOrOperator, response: Response, idempotency_key: IdempotencyKey = None
    ) -> Twin:
        return await answer("twin", parties.register_twin(store, ask(caller, idempotency_key), body), response)

    @app.get("/v1/twins")
    async def every(
        caller: TalentSide, talent_id: IdInQuery = None, after: After = None, limit: Limit = 100
    ) -> list[Twin]:
        return await listed(store, caller, TWIN, (after, limit), talent_id=talent_id)

    @app.get("/v1/twins/{twin_id}")
    async def one(twin_id: IdInPath, caller: TalentSide) -> Twin:
        return await shown(store, caller, TWIN, twin_id)
