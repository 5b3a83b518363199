"""Ids that follow from their cause: the same facts give the same id, on every machine and at every repeat."""

import hashlib
import json
from collections.abc import Sequence
from uuid import UUID, uuid5

NAMESPACE = UUID("6b0f2f0e-6a3c-5d0b-9c52-2f4f0f6f7a11")

_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)

Part = str | int | bool | None


def derived_id(*parts: Part) -> UUID:
    """The uuid5 of the parts as a JSON array (no spaces, UTF-8); `True` and `1` differ, as they do in JSON."""
    return uuid5(NAMESPACE, canonical_json(parts))


def use_id(*, platform: str, post_id: str, twin_id: str, livemode: bool) -> str:
    """The id of one twin in one post."""
    return str(derived_id("use", platform, post_id, twin_id, livemode))


def sighting_id(*, use_id: str, media_digest: str, reference_id: str) -> str:
    """The id of one reference recognised in one media item of a use; the algorithm is not part of it."""
    return str(derived_id("sighting", use_id, media_digest, reference_id))


def digest_of(data: bytes) -> str:
    """`sha256:` and 64 hexadecimal digits: how images, bodies and contents are named."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def canonical_json(value: Sequence[object] | dict[str, object]) -> str:
    """One spelling per value: sorted names, no spaces, UTF-8 as it is, no NaN."""
    return _CANONICAL.encode(value)
