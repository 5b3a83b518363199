"""Images inside an event: taken out of it, decoded, and named by their digest in their place."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from shared.events import decoded_bytes
from shared.events.posts import MEDIA_MAX

# Stands in for a media item that is refused already, so that the fields beside it are checked all the same.
STAND_IN = {"upload_sha256": "0" * 64}


@dataclass(frozen=True)
class Unpacked:
    """An event with a digest in place of each image, the images by SHA-256, and what is wrong with media items."""

    told: Any
    uploads: Mapping[str, bytes]
    problems: tuple[str, ...]


def unpack(told: Any, bytes_max: int) -> Unpacked:
    """Take the images out of an event as it came; whatever is no post with media is left for its reader to refuse."""
    post = told.get("post") if isinstance(told, dict) else None
    if not isinstance(post, dict) or not isinstance(post.get("media"), list):
        return Unpacked(told, {}, ())
    uploads: dict[str, bytes] = {}
    problems: list[str] = []
    items: list[Any] = []
    # One more than may be, so that the reader refuses what is too long.
    for number, item in enumerate(post["media"][: MEDIA_MAX + 1]):
        try:
            items.append(_item(item, uploads, bytes_max) if isinstance(item, dict) else item)
        except ValueError as error:
            problems.append(f"{told.get('type')}.post.media.{number}{error}")
            items.append(STAND_IN)
    return Unpacked({**told, "post": {**post, "media": items}}, uploads, tuple(problems))


def _item(item: dict[str, Any], uploads: dict[str, bytes], bytes_max: int) -> dict[str, Any]:
    given = [name for name in ("url", "image_base64") if item.get(name) is not None]
    if len(given) != 1:
        raise ValueError(f": needs exactly one of url and image_base64; got {'both' if given else 'neither'}")
    if given == ["url"]:
        return {"url": item["url"]}
    image = _image(item["image_base64"], bytes_max)
    sha256 = hashlib.sha256(image).hexdigest()
    uploads[sha256] = image
    return {"upload_sha256": sha256}


def _image(text: Any, bytes_max: int) -> bytes:
    if not isinstance(text, str):
        raise ValueError(".image_base64: must be a string of standard base64")
    # Told from the length of the text: nothing larger is decoded.
    count = len(text) // 4 * 3 - text[-2:].count("=")
    if count > bytes_max:
        raise ValueError(
            f".image_base64: the image has {count} bytes, more than {bytes_max}; send a smaller copy, or its url"
        )
    try:
        image = decoded_bytes(text)
    except ValueError:
        raise ValueError(".image_base64: must be standard base64, without line breaks or a data: prefix") from None
    if not image:
        raise ValueError(".image_base64: holds no image; leave the item out, or send its url")
    return image
