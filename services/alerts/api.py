"""Alerts' edge for agencies: their cases and their endpoints."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Protocol

from fastapi import Depends, FastAPI, HTTPException, Query
from fastapi.exceptions import RequestValidationError
from psycopg.rows import DictRow
from pydantic import BaseModel, Field

from services.alerts.delivery import new_secret_text
from services.alerts.domain import CaseStatus
from services.alerts.endpoint_store import ENDPOINTS_MAX, Endpoint, EndpointStore
from services.alerts.handlers import acknowledge
from services.alerts.payload import case_facts
from services.alerts.store import CaseStore, case_of
from shared.access import Caller, KnowsKeys, require
from shared.safe_http import Refused, Unreachable
from shared.values import Text
from shared.web import ONE_SPAN_PER_REQUEST, After, IdInPath, answer_errors

Reader = Annotated[Caller, Depends(require("agency", "operator"))]
Agency = Annotated[Caller, Depends(require("agency"))]
CHECK_DEADLINE_S = 5.0


class ChecksUrls(Protocol):
    """Says whether we would ever ask a URL."""

    async def check_addresses(self, url: str, *, deadline_s: float) -> None:
        """Raises Refused or Unreachable."""


class EndpointRequest(BaseModel):
    """Where alerts shall go."""

    url: str = Field(max_length=2048, examples=["https://agency.example/webhooks/twintally"])


class EndpointView(BaseModel):
    """An endpoint; the secret only when it has just been made."""

    endpoint_id: str
    agency_id: str
    livemode: bool
    url: str
    status: str
    disabled_because: str | None
    created_at: datetime
    secret: str | None = None


class AcknowledgeRequest(BaseModel):
    """Why, in the person's own words."""

    why: Text = Field("", max_length=2000)


class CasePage(BaseModel):
    """Cases, newest first; `next` goes into `after` for the following page."""

    cases: list[dict[str, Any]]
    next: str | None


def build_app(
    cases: CaseStore, endpoints: EndpointStore, urls: ChecksUrls, keys: KnowsKeys, *, overlap: timedelta
) -> FastAPI:
    """The application."""
    app = FastAPI(title="Twintally alerts", version="1", telemetry=ONE_SPAN_PER_REQUEST)
    app.state.keys = keys
    answer_errors(app)
    _add_cases(app, cases)
    _add_endpoints(app, endpoints, urls, overlap)
    return app


def _add_cases(app: FastAPI, cases: CaseStore) -> None:
    @app.get("/v1/cases")
    async def page(
        caller: Reader,
        status: CaseStatus | None = None,
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
        after: After = None,
    ) -> CasePage:
        rows = await cases.page(caller, status=status, limit=limit + 1, after=after)
        shown = [_case_view(row) for row in rows[:limit]]
        return CasePage(cases=shown, next=shown[-1]["use_id"] if len(rows) > limit else None)

    @app.get("/v1/cases/{use_id}")
    async def show(use_id: IdInPath, caller: Reader) -> dict[str, Any]:
        found = await cases.whole(caller, use_id)
        if found is None:
            raise _no_case(use_id)
        return _whole_view(found)

    @app.post("/v1/cases/{use_id}/acknowledge")
    async def take_in_hand(
        use_id: IdInPath, caller: Reader, request: AcknowledgeRequest | None = None
    ) -> dict[str, Any]:
        """Say that a person works on the case; repeating it changes nothing."""
        why = request.why if request else ""
        async with cases.transaction(caller) as rows:
            outcome = await acknowledge(use_id, rows, by=caller.api_key_id, why=why, now=datetime.now(UTC))
        found = await cases.whole(caller, use_id) if outcome != "no_such_case" else None
        if found is None:
            raise _no_case(use_id)
        if outcome == "not_open":
            raise HTTPException(409, f"The case is {found['case']['status']}; only an open case can be acknowledged")
        return _whole_view(found)


def _add_endpoints(app: FastAPI, endpoints: EndpointStore, urls: ChecksUrls, overlap: timedelta) -> None:
    @app.post("/v1/endpoints", status_code=201)
    async def create(request: EndpointRequest, caller: Agency) -> EndpointView:
        """Send alerts here from now on; the secret in the answer signs them and is shown only now."""
        await _check(urls, request.url)
        secret = new_secret_text()
        endpoint = await endpoints.add(caller, url=request.url, secret=secret, now=datetime.now(UTC))
        if endpoint is None:
            raise HTTPException(409, f"An agency has at most {ENDPOINTS_MAX} endpoints; delete one first")
        return _endpoint_view(endpoint, secret)

    @app.get("/v1/endpoints")
    async def show(caller: Reader) -> list[EndpointView]:
        return [_endpoint_view(endpoint) for endpoint in await endpoints.list(caller)]

    @app.post("/v1/endpoints/{endpoint_id}/rotate")
    async def rotate(endpoint_id: IdInPath, caller: Agency) -> EndpointView:
        """Make a new secret; alerts carry a signature by the old one too until the overlap has passed."""
        secret = new_secret_text()
        endpoint = await endpoints.rotate(caller, endpoint_id, secret=secret, now=datetime.now(UTC), overlap=overlap)
        if endpoint is None:
            raise _no_endpoint(endpoint_id)
        return _endpoint_view(endpoint, secret)

    @app.delete("/v1/endpoints/{endpoint_id}", status_code=204)
    async def delete(endpoint_id: IdInPath, caller: Agency) -> None:
        if not await endpoints.delete(caller, endpoint_id):
            raise _no_endpoint(endpoint_id)


async def _check(urls: ChecksUrls, url: str) -> None:
    try:
        await urls.check_addresses(url, deadline_s=CHECK_DEADLINE_S)
    except (Refused, Unreachable) as problem:
        told = f"{problem}; give the URL of a server on the public Internet, with http or https on port 80 or 443"
        raise RequestValidationError(
            [{"type": "url_not_usable", "loc": ("body", "url"), "msg": told, "input": url}]
        ) from problem


def _case_view(row: DictRow) -> dict[str, Any]:
    case = case_of(row)
    facts = {name: value for name, value in case_facts(case.infringement).items() if name != "sightings"}
    return {
        **facts,
        "agency_id": row["agency_id"],
        "status": case.status,
        "sequence": case.sequence,
        "opened_at": case.opened_at,
    }


def _whole_view(found: dict[str, Any]) -> dict[str, Any]:
    return {
        **_case_view(found["case"]),
        "sightings": case_facts(case_of(found["case"]).infringement)["sightings"],
        "steps": [_only(row, ("kind", "happened_at", "done_by", "why")) for row in found["steps"]],
        "alerts": [_alert_view(row, found["deliveries"]) for row in found["alerts"]],
    }


def _alert_view(alert: DictRow, deliveries: Sequence[DictRow]) -> dict[str, Any]:
    names = ("delivery_id", "endpoint_id", "url", "status", "attempts", "last_status", "last_reason", "finished_at")
    return {
        **_only(alert, ("event_id", "sequence", "kind", "digested")),
        "deliveries": [
            {**_only(row, names), "next_try_at": row["next_try_at"] if row["status"] == "pending" else None}
            for row in deliveries
            if row["event_id"] == alert["event_id"]
        ],
    }


def _only(row: DictRow, names: Sequence[str]) -> dict[str, Any]:
    return {name: row[name] for name in names}


def _endpoint_view(endpoint: Endpoint, secret: str | None = None) -> EndpointView:
    return EndpointView(
        endpoint_id=endpoint.endpoint_id,
        agency_id=endpoint.agency_id,
        livemode=endpoint.livemode,
        url=endpoint.url,
        status=endpoint.status,
        disabled_because=endpoint.disabled_because,
        created_at=endpoint.created_at,
        secret=secret,
    )


def _no_case(use_id: str) -> HTTPException:
    return HTTPException(404, f"No case {use_id!r} here; GET /v1/cases lists yours")


def _no_endpoint(endpoint_id: str) -> HTTPException:
    return HTTPException(404, f"No endpoint {endpoint_id!r} here; GET /v1/endpoints lists yours")
