"""Routes of references."""

from collections.abc import Sequence
from typing import Any, Literal

from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.datastructures import UploadFile

from services.registry.api.answers import (
    AgencyOrOperator,
    IdempotencyKey,
    Limit,
    TalentSide,
    answer,
    ask,
    listed,
    refusal,
    shown,
)
from services.registry.api.limits import too_large
from services.registry.domain import Kind, Reference, SamePicture, Status, Unusable
from services.registry.handlers import references
from services.registry.handlers.desk import Ask, Conflict, Done, NotFound, Store
from services.registry.handlers.references import ReferenceParts
from services.registry.metrics import SAME_PICTURES, UNUSABLE
from shared.logs import get_log
from shared.values import UtcDatetime
from shared.web import After, IdInPath, IdInQuery

log = get_log()

REFERENCE: tuple[Kind, type[Reference]] = ("reference", Reference)
IMAGE_FORM = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["image"],
                    "properties": {"image": {"type": "string", "format": "binary"}},
                }
            }
        },
    }
}


class ReferenceView(BaseModel):
    """A reference without its fingerprint."""

    reference_id: str
    twin_id: str
    talent_id: str
    agency_id: str
    status: Status
    image_digest: str
    image_type: str
    image_bytes: int
    width_px: int
    height_px: int
    algorithm: str
    livemode: bool
    created_at: UtcDatetime
    changed_at: UtcDatetime


class SamePictureView(BaseModel):
    """A reference that shows the same picture; of another agency's, an agency learns no more than that it is there."""

    whose: Literal["same_twin", "another_twin", "another_agency"]
    reference_id: str | None
    twin_id: str | None
    agency_id: str | None


class RegisteredView(ReferenceView):
    """A reference that was just sent, and the references that show its picture already: a report, not a refusal."""

    same_picture: list[SamePictureView]


def add_routes(app: FastAPI, parts: ReferenceParts, image_bytes_max: int) -> None:
    """Add them."""
    _add_upload(app, parts, image_bytes_max)
    _add_reading(app, parts.store)
    _add_image(app, parts)
    _add_same_pictures(app, parts)

    @app.delete("/v1/references/{reference_id}", status_code=204)
    async def withdraw(reference_id: IdInPath, caller: AgencyOrOperator) -> None:
        """Withdraw a reference: new posts are not matched to it any more."""
        await answer("reference", references.withdraw_reference(parts.store, ask(caller), reference_id))


def _add_upload(app: FastAPI, parts: ReferenceParts, image_bytes_max: int) -> None:
    @app.post("/v1/twins/{twin_id}/references", openapi_extra=IMAGE_FORM)
    async def add(
        twin_id: IdInPath,
        request: Request,
        response: Response,
        caller: AgencyOrOperator,
        idempotency_key: IdempotencyKey = None,
    ) -> RegisteredView:
        """Register an image of a twin, sent as the file `image` of a multipart form.

        `same_picture` lists the references that show the same picture, saved again, resized, turned or mirrored.
        """
        missing = await references.may_add(parts.store, caller, twin_id)
        if missing is not None:
            raise refusal(missing)
        image = await _image_of(request, image_bytes_max)
        outcome = _usable(parts, ask(caller, idempotency_key), twin_id, image)
        reference = await answer("reference", outcome, response)
        same = await references.same_pictures(parts, caller, reference)
        if response.status_code == 201:
            _count_same(reference, same)
        return RegisteredView(**_view(reference).model_dump(), same_picture=[_same_view(each) for each in same])


def _add_reading(app: FastAPI, store: Store) -> None:
    @app.get("/v1/references")
    async def every(
        caller: TalentSide,
        twin_id: IdInQuery = None,
        status: Status | None = None,
        after: After = None,
        limit: Limit = 100,
    ) -> list[ReferenceView]:
        found = await listed(store, caller, REFERENCE, (after, limit), twin_id=twin_id, status=status)
        return [_view(each) for each in found]

    @app.get("/v1/references/{reference_id}")
    async def one(reference_id: IdInPath, caller: TalentSide) -> ReferenceView:
        return _view(await shown(store, caller, REFERENCE, reference_id))


def _add_image(app: FastAPI, parts: ReferenceParts) -> None:
    @app.get("/v1/references/{reference_id}/image", response_class=Response)
    async def image(reference_id: IdInPath, caller: TalentSide) -> Response:
        """The image as it was sent."""
        reference = await shown(parts.store, caller, REFERENCE, reference_id)
        try:
            data = await parts.images.read(reference.image_digest)
        except FileNotFoundError as error:
            raise HTTPException(404, f"The image of {reference_id!r} is not kept any more") from error
        headers = {
            "Cache-Control": "private, max-age=3600",
            "X-Content-Type-Options": "nosniff",
            "Content-Security-Policy": "default-src 'none'; sandbox",
        }
        return Response(data, media_type=reference.image_type, headers=headers)


def _add_same_pictures(app: FastAPI, parts: ReferenceParts) -> None:
    @app.get("/v1/references/{reference_id}/same-pictures")
    async def same(reference_id: IdInPath, caller: AgencyOrOperator) -> list[SamePictureView]:
        """Other references that show the same picture, of any twin. The operator sees whose they are."""
        reference = await shown(parts.store, caller, REFERENCE, reference_id)
        return [_same_view(each) for each in await references.same_pictures(parts, caller, reference)]


def _count_same(reference: Reference, same: Sequence[SamePicture]) -> None:
    for each in same:
        SAME_PICTURES.labels(each.whose).inc()
    if same:
        log.info("same_picture", reference_id=reference.reference_id, whose=sorted({each.whose for each in same}))


async def _usable(
    parts: ReferenceParts, asked: Ask, twin_id: str, image: bytes
) -> Done[Reference] | NotFound | Conflict:
    found = await references.add_reference(parts, asked, twin_id, image)
    if isinstance(found, Unusable):
        UNUSABLE.labels(found.kind).inc()
        raise _wrong_image(found.reason, kind=found.kind, measured=found.measured, needed=found.needed)
    return found


async def _image_of(request: Request, bytes_max: int) -> bytes:
    async with request.form(max_files=1, max_fields=8) as form:
        image = form.get("image")
        if not isinstance(image, UploadFile):
            raise _wrong_image("Send the image as the file `image` of a multipart/form-data body", kind="missing")
        data = await image.read()
    if len(data) > bytes_max:
        raise too_large(bytes_max)
    return data


def _wrong_image(reason: str, *, kind: str, **figures: dict[str, float]) -> RequestValidationError:
    problem: dict[str, Any] = {"type": kind, "loc": ("body", "image"), "msg": reason}
    return RequestValidationError([problem | {name: each for name, each in figures.items() if each}])


def _view(reference: Reference) -> ReferenceView:
    return ReferenceView.model_validate(reference, from_attributes=True)


def _same_view(same: SamePicture) -> SamePictureView:
    return SamePictureView.model_validate(same, from_attributes=True)
