"""Judging's edge for people and tools: uses, their verdicts, and whether anybody may be accused now."""

from collections.abc import Callable
from typing import Annotated, Protocol

from fastapi import Depends, FastAPI, HTTPException, Query, Response
from pydantic import BaseModel, Field

from services.judging.names import VerdictName
from services.judging.views import UnreadableLookup, UseDetail, UseView
from shared.access import Caller, KnowsKeys, Operator, require
from shared.values import Text
from shared.web import ONE_SPAN_PER_REQUEST, After, IdInPath, IdInQuery, answer_errors

Holder = Annotated[Caller, Depends(require("agency", "talent", "brand", "operator"))]
Anyone = Annotated[Caller, Depends(require())]
POST = r"^[a-z0-9][a-z0-9-]{0,39}:[^\x00-\x1f\x7f]+$"


class Views(Protocol):
    """What the schema tells a caller; what is not the caller's own is not there."""

    async def use(self, caller: Caller, use_id: str) -> UseDetail | None:
        """One use with its verdicts."""

    async def uses(
        self,
        caller: Caller,
        *,
        twin_id: str | None,
        post: tuple[str, str] | None,
        verdict: VerdictName | None,
        limit: int,
        after: str | None,
    ) -> list[UseView]:
        """Uses in the order of their ids."""

    async def unreadable(self, caller: Caller) -> list[UnreadableLookup]:
        """The lookup records that stop all accusations."""

    async def drop_unreadable(self, caller: Caller, *, topic: str, message_key: str, offset: int | None) -> bool:
        """Go on without one of them."""


class FreshnessView(BaseModel):
    """Whether accusations are told at the moment; what is judged until then waits."""

    fresh: bool
    problem: str | None
    unreadable_lookups: list[UnreadableLookup] = Field(description="for the operator")


class UnreadableName(BaseModel):
    """Names an unreadable lookup record."""

    topic: Text = Field(examples=["licenses.v1"])
    message_key: Text = Field(examples=["lic_1"])
    offset: int | None = Field(
        None, ge=0, lt=2**63, description="where it lies: a later unreadable one of its key is not dropped"
    )


def build_app(views: Views, keys: KnowsKeys, *, problem: Callable[[], str | None]) -> FastAPI:
    """The application; `problem` says why nobody may be accused now."""
    app = FastAPI(title="Twintally judging", version="1", telemetry=ONE_SPAN_PER_REQUEST)
    app.state.keys = keys
    answer_errors(app)
    _add_uses(app, views)
    _add_freshness(app, views, problem)
    return app


def _add_uses(app: FastAPI, views: Views) -> None:
    @app.get("/v1/uses")
    async def uses(
        caller: Holder,
        twin_id: IdInQuery = None,
        post: Annotated[
            str | None,
            Query(pattern=POST, max_length=241, description="platform:post_id", examples=["instagram:17841"]),
        ] = None,
        verdict: VerdictName | None = None,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
        after: After = None,
    ) -> list[UseView]:
        """The caller's uses in the order of their ids; a verdict that is withheld matches no `verdict`."""
        platform, _, post_id = (post or "").partition(":")
        of_post = (platform, post_id) if post else None
        return await views.uses(caller, twin_id=twin_id, post=of_post, verdict=verdict, limit=limit, after=after)

    @app.get("/v1/uses/{use_id}")
    async def use(use_id: IdInPath, caller: Holder) -> UseDetail:
        """A use: its verdict as known now, and every verdict as judged then."""
        found = await views.use(caller, use_id)
        if found is None:
            raise HTTPException(404, f"No use {use_id}; GET /v1/uses lists yours")
        return found


def _add_freshness(app: FastAPI, views: Views, problem: Callable[[], str | None]) -> None:
    @app.get("/v1/freshness")
    async def freshness(caller: Anyone) -> FreshnessView:
        """May anybody be accused at this moment, and if not, why?"""
        unreadable = await views.unreadable(caller)
        found = problem()
        told = found if found is None or caller.role == "operator" else "lookup data is not fresh; verdicts wait"
        return FreshnessView(fresh=found is None, problem=told, unreadable_lookups=unreadable)

    @app.post("/v1/unreadable-lookups/drop", status_code=204)
    async def drop(named: UnreadableName, caller: Operator) -> Response:
        """Go on as if the record said nothing; a later readable one of its message key is learnt as ever."""
        if not caller.livemode:
            raise HTTPException(403, "A sandbox key may not decide what live accusations rest on")
        if not await views.drop_unreadable(caller, **named.model_dump()):
            raise HTTPException(
                404, f"No unreadable record {named.message_key} of {named.topic}; GET /v1/freshness lists them"
            )
        return Response(status_code=204)
