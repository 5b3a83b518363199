"""Makes fingerprints off the event loop, a few at a time: a picture of 100 million pixels takes memory."""

import asyncio

from services.registry.domain import Printed, Unusable
from services.registry.metrics import FINGERPRINT_SECONDS
from shared.fingerprints import ALGORITHM, TooPlain, Undecodable, decode, fingerprint_reference

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


def _fingerprint(image: bytes) -> Printed | Unusable:
    picture = decode(image)
    if isinstance(picture, Undecodable):
        return Unusable("undecodable", picture.reason, {})
    found = fingerprint_reference(picture)
    if isinstance(found, TooPlain):
        return Unusable("too_plain", found.reason, found.measured)
    # What the decoder found, never what the sender said: the type goes back out with the image.
    image_type = IMAGE_TYPES.get(picture.format, "application/octet-stream")
    return Printed(image_type, picture.width_px, picture.height_px, ALGORITHM, found.to_bytes())
