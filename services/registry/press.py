"""Makes fingerprints off the event loop, a few at a time: a picture of 100 million pixels takes memory."""

import asyncio
from collections.abc import Sequence

from services.registry.domain import Printed, Unusable
from services.registry.metrics import FINGERPRINT_SECONDS
from shared.fingerprints import (
    ALGORITHM,
    Fingerprint,
    TooPlain,
    Undecodable,
    decode,
    fingerprint_reference,
    is_same_picture,
    turns_of,
)
from shared.fingerprints.compiled import Bits

IMAGE_TYPES = {
    "JPEG": "image/jpeg",
    "PNG": "image/png",
    "GIF": "image/gif",
    "WEBP": "image/webp",
    "BMP": "image/bmp",
    "TIFF": "image/tiff",
    "AVIF": "image/avif",
}


class ThreadPress:
    """A press that works in threads; its libraries release the interpreter while they compute."""

    def __init__(self, at_once: int) -> None:
        self._free = asyncio.Semaphore(at_once)

    async def fingerprint(self, image: bytes) -> Printed | Unusable:
        """The fingerprint of an image, or why it has none."""
        async with self._free:
            with FINGERPRINT_SECONDS.time():
                return await asyncio.to_thread(_fingerprint, image)

    async def turns(self, fingerprint: bytes) -> list[str]:
        """The hash of the whole picture in its eight turns, 256 of 0 and 1 each."""
        async with self._free:
            return await asyncio.to_thread(_turns, fingerprint)

    async def same(self, fingerprint: bytes, others: Sequence[bytes]) -> list[bool]:
        """Which of the others are fingerprints of the same picture."""
        async with self._free:
            return await asyncio.to_thread(_same, fingerprint, others)


def _fingerprint(image: bytes) -> Printed | Unusable:
    picture = decode(image)
    if isinstance(picture, Undecodable):
        return Unusable("undecodable", picture.reason, {}, {})
    found = fingerprint_reference(picture)
    if isinstance(found, TooPlain):
        return Unusable("too_plain", found.reason, found.measured, found.needed)
    # What the decoder found, never what the sender said: the type goes back out with the image.
    image_type = IMAGE_TYPES.get(picture.format, "application/octet-stream")
    whole_bits = _text(found.whole)
    return Printed(image_type, picture.width_px, picture.height_px, ALGORITHM, found.to_bytes(), whole_bits)


def _turns(fingerprint: bytes) -> list[str]:
    return [_text(turn) for turn in turns_of(Fingerprint.from_bytes(fingerprint))]


def _same(fingerprint: bytes, others: Sequence[bytes]) -> list[bool]:
    one = Fingerprint.from_bytes(fingerprint)
    return [is_same_picture(one, Fingerprint.from_bytes(other)) for other in others]


def _text(whole: Bits) -> str:
    """The bits of a hash as PostgreSQL's type `bit` takes them, in the order of its bytes."""
    return "".join(f"{byte:08b}" for byte in whole.tobytes())
