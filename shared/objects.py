"""Files that are written once: the inbox of raw bodies and uploads, and the evidence store, content-addressed."""

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, NotFoundError
from obstore.store import ObjectStore, from_url

from shared.ids import digest_of


def open_store(address: str) -> ObjectStore:
    """The store behind `file:///folder`, `s3://bucket/prefix` or `memory://`; a missing local folder is made."""
    if address.startswith("file://"):
        return from_url(address, mkdir=True)
    return from_url(address)


class StoreAway(ConnectionError):  # noqa: N818 - the state of the store
    """The store did not answer: a passing fault, worth a repeat, never the fault of what was to be kept."""


async def put(store: ObjectStore, path: str, data: bytes) -> None:
    """Write a file, in place of an earlier one; StoreAway when that failed."""
    try:
        await obstore.put_async(store, path, data)
    except (BaseError, OSError) as error:
        raise StoreAway(f"{path}: {error}") from error


async def get(store: ObjectStore, path: str) -> bytes:
    """The bytes of a file; FileNotFoundError when it is not there, StoreAway when the store does not answer."""
    try:
        found = await obstore.get_async(store, path)
        return bytes(await found.bytes_async())
    except (NotFoundError, FileNotFoundError) as error:
        raise FileNotFoundError(path) from error
    except (BaseError, OSError) as error:
        raise StoreAway(f"{path}: {error}") from error


class Uploads:
    """Images that platforms uploaded, in the inbox: by platform, and by the SHA-256 that their post names."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    async def keep(self, platform: str, sha256: str, data: bytes) -> None:
        """Store an image. Again means the same bytes, and that its days in the inbox begin anew."""
        await put(self._store, _upload_path(platform, sha256), data)

    async def read(self, platform: str, sha256: str) -> bytes:
        """The image; FileNotFoundError when it is not here, StoreAway when the store does not answer."""
        return await get(self._store, _upload_path(platform, sha256))


def _upload_path(platform: str, sha256: str) -> str:
    return f"inbox/uploads/{platform}/{sha256}"


class Evidence:
    """Images by their digest. Writing one twice is the same as once; none is ever replaced."""

    def __init__(self, store: ObjectStore, folder: str = "evidence") -> None:
        self._store = store
        self._folder = folder

    async def keep(self, data: bytes) -> str:
        """Store the bytes; returns their digest."""
        digest = digest_of(data)
        try:
            await obstore.put_async(self._store, self._path(digest), data, mode="create")
        except AlreadyExistsError:
            pass
        except (BaseError, OSError) as error:
            raise StoreAway(f"{digest}: {error}") from error
        return digest

    async def read(self, digest: str) -> bytes:
        """The bytes of a digest; FileNotFoundError when they are not here, StoreAway when the store does not answer."""
        return await get(self._store, self._path(digest))

    async def has(self, digest: str) -> bool:
        """Are the bytes of a digest here? StoreAway when the store does not answer."""
        try:
            await obstore.head_async(self._store, self._path(digest))
        except (NotFoundError, FileNotFoundError):
            return False
        except (BaseError, OSError) as error:
            raise StoreAway(f"{digest}: {error}") from error
        return True

    def _path(self, digest: str) -> str:
        return evidence_path(digest, self._folder)


def evidence_path(digest: str, folder: str = "evidence") -> str:
    """Where the bytes of a digest lie in the store."""
    hexadecimal = digest.removeprefix("sha256:")
    return f"{folder}/{hexadecimal[:2]}/{hexadecimal}"
