"""Routes of rate cards, licenses and consents."""

from fastapi import FastAPI, Response

from services.registry.api.answers import (
    AgencyOrOperator,
    CardKeeper,
    CardReader,
    IdempotencyKey,
    Limit,
    Parties,
    TalentSide,
    answer,
    ask,
    listed,
    shown,
)
from services.registry.domain import Kind
from services.registry.handlers import licensing
from services.registry.handlers.desk import Store
from services.registry.licensing import Consent, KeptCard, License
from services.registry.requests import NewConsent, NewLicense, NewRateCard, NewVersion, Termination, Withdrawal
from shared.web import After, IdInPath, IdInQuery

CARD: tuple[Kind, type[KeptCard]] = ("rate card", KeptCard)
LICENSE: tuple[Kind, type[License]] = ("license", License)
CONSENT: tuple[Kind, type[Consent]] = ("consent", Consent)


def add_routes(app: FastAPI, store: Store) -> None:
    """Add them."""
    _rate_cards(app, store)
    _licenses(app, store)
    _license_changes(app, store)
    _consents(app, store)


def _rate_cards(app: FastAPI, store: Store) -> None:
    @app.post("/v1/rate-cards")
    async def keep(
        body: NewRateCard, caller: CardKeeper, response: Response, idempotency_key: IdempotencyKey = None
    ) -> KeptCard:
        return await answer("rate card", licensing.keep_card(store, ask(caller, idempotency_key), body), response)

    @app.get("/v1/rate-cards")
    async def every(caller: CardReader, after: After = None, limit: Limit = 100) -> list[KeptCard]:
        """Finance and the operator see all cards; an agency sees its own and those offered to all."""
        return await listed(store, caller, CARD, (after, limit))

    @app.get("/v1/rate-cards/{rate_card_id}")
    async def one(rate_card_id: IdInPath, caller: CardReader) -> KeptCard:
        return await shown(store, caller, CARD, rate_card_id)


def _licenses(app: FastAPI, store: Store) -> None:
    @app.post("/v1/licenses")
    async def grant(
        body: NewLicense, caller: AgencyOrOperator, response: Response, idempotency_key: IdempotencyKey = None
    ) -> License:
        """Grant a twin to a brand; the rate card is copied by value."""
        return await answer("license", licensing.grant(store, ask(caller, idempotency_key), body), response)

    @app.get("/v1/licenses")
    async def every(
        caller: Parties,
        twin_id: IdInQuery = None,
        brand_id: IdInQuery = None,
        after: After = None,
        limit: Limit = 100,
    ) -> list[License]:
        return await listed(store, caller, LICENSE, (after, limit), twin_id=twin_id, brand_id=brand_id)

    @app.get("/v1/licenses/{license_id}")
    async def one(license_id: IdInPath, caller: Parties) -> License:
        return await shown(store, caller, LICENSE, license_id)


def _license_changes(app: FastAPI, store: Store) -> None:
    @app.post("/v1/licenses/{license_id}/versions")
    async def add_version(
        license_id: IdInPath,
        body: NewVersion,
        caller: AgencyOrOperator,
        response: Response,
        idempotency_key: IdempotencyKey = None,
    ) -> License:
        """Add a version; earlier ones stay as they are."""
        asked = ask(caller, idempotency_key)
        return await answer("license", licensing.add_version(store, asked, license_id, body), response)

    @app.post("/v1/licenses/{license_id}/termination")
    async def terminate(license_id: IdInPath, body: Termination, caller: AgencyOrOperator) -> License:
        """End a license from a moment on; the end can be brought forward later, never put off."""
        return await answer("license", licensing.terminate(store, ask(caller), license_id, body))


def _consents(app: FastAPI, store: Store) -> None:
    @app.post("/v1/consents")
    async def record(
        body: NewConsent, caller: AgencyOrOperator, response: Response, idempotency_key: IdempotencyKey = None
    ) -> Consent:
        """Record what the talent consented to."""
        return await answer("consent", licensing.record_consent(store, ask(caller, idempotency_key), body), response)

    @app.post("/v1/consents/{consent_id}/withdrawal")
    async def withdraw(consent_id: IdInPath, body: Withdrawal, caller: TalentSide) -> Consent:
        """End a consent from a moment on: the talent itself, or its agency for it."""
        return await answer("consent", licensing.withdraw_consent(store, ask(caller), consent_id, body))

    @app.get("/v1/consents")
    async def every(
        caller: TalentSide,
        twin_id: IdInQuery = None,
        talent_id: IdInQuery = None,
        after: After = None,
        limit: Limit = 100,
    ) -> list[Consent]:
        return await listed(store, caller, CONSENT, (after, limit), twin_id=twin_id, talent_id=talent_id)

    @app.get("/v1/consents/{consent_id}")
    async def one(consent_id: IdInPath, caller: TalentSide) -> Consent:
        return await shown(store, caller, CONSENT, consent_id)
