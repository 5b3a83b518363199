"""Files that are written once: the inbox of raw bodies, and the evidence store, content-addressed."""

import contextlib

import obstore
from obstore.exceptions import AlreadyExistsError
from obstore.store import ObjectStore, from_url

from shared.ids import digest_of


def open_store(address: str) -> ObjectStore:
    """The store behind `file:///folder`, `s3://bucket/prefix` or `memory://`; a missing local folder is made."""
    if address.startswith("file://"):
        return from_url(address, mkdir=True)
    return from_url(address)


class Evidence:
    """Images by their digest. Writing one twice is the same as once; none is ever replaced."""

    def __init__(self, store: ObjectStore, folder: str = "evidence") -> None:
        self._store = store
        self._folder = folder

    async def keep(self, data: bytes) -> str:
        """Store the bytes; returns their digest."""
        digest = digest_of(data)
        with contextlib.suppress(AlreadyExistsError):
            await obstore.put_async(self._store, self._path(digest), data, mode="create")
        return digest

    async def read(self, digest: str) -> bytes:
        """The bytes of a digest; FileNotFoundError when they are not here."""
        found = await obstore.get_async(self._store, self._path(digest))
        return bytes(await found.bytes_async())

    def _path(self, digest: str) -> str:
        return evidence_path(digest, self._folder)


def evidence_path(digest: str, folder: str = "evidence") -> str:
    """Where the bytes of a digest lie in the store."""
    hexadecimal = digest.removeprefix("sha256:")
    return f"{folder}/{hexadecimal[:2]}/{hexadecimal}"
