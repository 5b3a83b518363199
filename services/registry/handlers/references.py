"""References: an image becomes a fingerprint at once, or is refused with its reason."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from services.registry.domain import Printed, Reference, SamePicture, Twin, Unusable, as_told
from services.registry.handlers.desk import Ask, Conflict, Desk, Done, NotFound, Store, keep, request_digest
from shared.access import Caller


class Press(Protocol):
    """Makes fingerprints."""

    async def fingerprint(self, image: bytes) -> Printed | Unusable:
        """The fingerprint of an image; the event loop goes on meanwhile."""

    async def turns(self, fingerprint: bytes) -> list[str]:
        """The bits of the whole picture in its eight turns."""

    async def same(self, fingerprint: bytes, others: Sequence[bytes]) -> list[bool]:
        """Which of the others are fingerprints of the same picture."""


class Gallery(Protocol):
    """Every active reference, whoever owns it: for questions that go over the wall between tenants."""

    async def near(self, reference: Reference, turns: Sequence[str]) -> list[Reference]:
        """Other references of its mode whose bits are near one of these, nearest first."""


class Images(Protocol):
    """The evidence store."""

    async def keep(self, data: bytes) -> str:
        """Store the bytes; returns their digest."""

    async def read(self, digest: str) -> bytes:
        """The bytes of a digest."""


@dataclass(frozen=True)
class ReferenceParts:
    """What registering a reference needs."""

    store: Store
    press: Press
    images: Images
    gallery: Gallery


async def may_add(store: Store, caller: Caller, twin_id: str) -> NotFound | None:
    """Whether the caller has the twin at all: asked before any byte of the image is read."""
    async with store.desk(caller) as desk:
        return None if await desk.find(Twin, twin_id) else NotFound("twin", twin_id)


async def add_reference(
    parts: ReferenceParts, ask: Ask, twin_id: str, image: bytes
) -> Done[Reference] | NotFound | Conflict | Unusable:
    """Register an image of a twin. The same image of the same twin is the same reference, whoever sends it again."""
    printed = await parts.press.fingerprint(image)
    if isinstance(printed, Unusable):
        return printed
    # Before the transaction, because it may take long. Content-addressed: what is refused below for another twin's
    # sake lies there already under the same name.
    digest = await parts.images.keep(image)
    async with parts.store.desk(ask.caller) as desk:
        twin = await desk.find(Twin, twin_id)
        if twin is None:
            return NotFound("twin", twin_id)
        reference = Reference(
            reference_id=ask.id_of("reference"),
            twin_id=twin.twin_id,
            talent_id=twin.talent_id,
            agency_id=twin.agency_id,
            image_digest=digest,
            image_type=printed.image_type,
            image_bytes=len(image),
            width_px=printed.width_px,
            height_px=printed.height_px,
            algorithm=printed.algorithm,
            fingerprint=printed.fingerprint,
            whole_bits=printed.whole_bits,
            livemode=ask.caller.livemode,
            created_at=ask.at,
            changed_at=ask.at,
        )
        kept = await keep(desk, reference, reference.reference_id, request_digest(image, twin_id))
        return kept or await _same_image(desk, reference)


async def same_pictures(parts: ReferenceParts, caller: Caller, reference: Reference) -> tuple[SamePicture, ...]:
    """Other references that show the picture of this one, of any twin.

    Asked after a registration has committed: of two that come at once, the later one sees the other.
    """
    if reference.status == "withdrawn":
        return ()
    near = await parts.gallery.near(reference, await parts.press.turns(reference.fingerprint))
    same = await parts.press.same(reference.fingerprint, [each.fingerprint for each in near])
    others = [each for each, is_same in zip(near, same, strict=True) if is_same]
    return as_told(reference, others, to_operator=caller.role == "operator")


async def withdraw_reference(store: Store, ask: Ask, reference_id: str) -> Done[Reference] | NotFound:
    """Withdraw a reference: it is recognised no more. Its image stays as the evidence of what was recognised."""
    async with store.desk(ask.caller) as desk:
        reference = await desk.find(Reference, reference_id, to_change=True)
        if reference is None:
            return NotFound("reference", reference_id)
        gone = reference.withdrawn(ask.at)
        if gone is not reference:
            await desk.replace(gone)
    return Done(gone)


async def _same_image(desk: Desk, wanted: Reference) -> Done[Reference] | Conflict:
    found = await desk.page(
        Reference, after=None, limit=1, wanted={"image_digest": wanted.image_digest, "status": "active"}
    )
    if not found:
        return Conflict("This image is registered for a twin elsewhere; the operator can settle whose it is")
    known = found[0]
    if known.twin_id == wanted.twin_id:
        return Done(known)
    if known.agency_id != wanted.agency_id:
        # Only the operator sees over the wall between agencies; names stay behind it all the same.
        return Conflict("This image is registered for a twin of another agency")
    return Conflict(f"This image is registered for {known.twin_id} as {known.reference_id}; withdraw it there first")
