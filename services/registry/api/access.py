"""Routes of API keys."""

from fastapi import FastAPI, Response
from pydantic import BaseModel

from services.registry.api.answers import (
    AgencyOrOperator,
    IdempotencyKey,
    Limit,
    answer,
    ask,
    listed,
    shown,
)
from services.registry.domain import ApiKey, Kind, Status, hash_of_key, new_key_text
from services.registry.handlers import access
from services.registry.handlers.desk import Store
from services.registry.requests import NewApiKey
from shared.events import Role
from shared.values import UtcDatetime
from shared.web import After, IdInPath, IdInQuery

API_KEY: tuple[Kind, type[ApiKey]] = ("API key", ApiKey)


class ApiKeyView(BaseModel):
    """An API key without its hash; `api_key` is its text, in the one answer that makes it."""

    api_key_id: str
    role: Role
    tenant_id: str | None
    name: str
    status: Status
    livemode: bool
    created_at: UtcDatetime
    changed_at: UtcDatetime
    api_key: str | None = None


def add_routes(app: FastAPI, store: Store) -> None:
    """Add them."""
    _add_making(app, store)
    _add_reading(app, store)


def _add_making(app: FastAPI, store: Store) -> None:
    @app.post("/v1/api-keys")
    async def make(
        body: NewApiKey, caller: AgencyOrOperator, response: Response, idempotency_key: IdempotencyKey = None
    ) -> ApiKeyView:
        """Make a key; its text is in this answer and nowhere else, so a repeat answers without it."""
        text = new_key_text()
        key = await answer("API key", access.make_key(store, ask(caller, idempotency_key), body, text), response)
        return _view(key, text=text if key.key_hash == hash_of_key(text) else None)

    @app.delete("/v1/api-keys/{api_key_id}", status_code=204)
    async def revoke(api_key_id: IdInPath, caller: AgencyOrOperator) -> None:
        """Revoke a key: here at once, in the other services as soon as they read of it."""
        await answer("API key", access.revoke_key(store, ask(caller), api_key_id))


def _add_reading(app: FastAPI, store: Store) -> None:
    @app.get("/v1/api-keys")
    async def every(
        caller: AgencyOrOperator,
        role: Role | None = None,
        tenant_id: IdInQuery = None,
        status: Status | None = None,
        after: After = None,
        limit: Limit = 100,
    ) -> list[ApiKeyView]:
        page = (after, limit)
        found = await listed(store, caller, API_KEY, page, role=role, tenant_id=tenant_id, status=status)
        return [_view(each) for each in found]

    @app.get("/v1/api-keys/{api_key_id}")
    async def one(api_key_id: IdInPath, caller: AgencyOrOperator) -> ApiKeyView:
        return _view(await shown(store, caller, API_KEY, api_key_id))


def _view(key: ApiKey, *, text: str | None = None) -> ApiKeyView:
    return ApiKeyView.model_validate(key, from_attributes=True).model_copy(update={"api_key": text})
