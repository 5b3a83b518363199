"""From an address or an upload to what its image shows: fetch safely or read, decode, search, keep the evidence."""

import asyncio
import time
from concurrent.futures import Executor

from services.matching.additions import Knowledge, Moment
from services.matching.cpu import metered
from services.matching.disclosure import Disclosures
from services.matching.domain import Seen
from services.matching.hosts import Hosts, Resting
from services.matching.media import Later, MediaOutcome, Query, Searched, Unusable
from services.matching.metrics import FETCHES, IMAGE_SECONDS
from services.matching.recognition import Match, ReferenceIndex
from shared.events import Disclosure
from shared.fingerprints import QueryFingerprint, Undecodable, decode, fingerprint_query
from shared.ids import digest_of
from shared.objects import Evidence, Uploads
from shared.safe_http import Refused, SafeHttp, Unreachable

IMAGE_BYTES_MAX = 25 * 1024 * 1024


class ImageLooker:
    """Looks at published images; the heavy work runs on an executor, off the event loop."""

    def __init__(
        self,
        http: SafeHttp,
        uploads: Uploads,
        index: ReferenceIndex,
        evidence: Evidence,
        executor: Executor,
        knowledge: Knowledge | None = None,
        disclosures: Disclosures | None = None,
        hosts: Hosts | None = None,
    ) -> None:
        """With `knowledge`, what the index knows, the fingerprint of each image is kept for later references.

        hosts: when others of this process ask hosts as well.
        """
        self._http = http
        self._uploads = uploads
        self._index = index
        self._evidence = evidence
        self._executor = executor
        self._knowledge = knowledge
        self._disclosures = disclosures or Disclosures()
        self._hosts = hosts or Hosts()

    async def look(self, url: str, *, livemode: bool, deadline_s: float) -> MediaOutcome:
        """What the image at this address shows. Faults of the host and of the file are outcomes."""
        try:
            # The wait for a place of the host counts too: a stalled host must not hold the stream.
            async with asyncio.timeout(deadline_s), self._hosts.visit(url):
                image = await metered(self._fetch(url, deadline_s), IMAGE_SECONDS.labels("fetch").observe)
        except (Unreachable, TimeoutError) as error:
            FETCHES.labels("later").inc()
            return Later(str(error) or f"no answer within {deadline_s:g} s")
        except Resting as error:
            FETCHES.labels("later").inc()
            return Later(str(error), asked=False)
        except ValueError as error:
            FETCHES.labels("refused").inc()
            return Unusable("unfetchable", f"the URL cannot be read: {error}")
        if isinstance(image, Unusable):
            FETCHES.labels("refused").inc()
            return image
        FETCHES.labels("fetched").inc()
        return await self._search(image, livemode=livemode)

    async def look_at_upload(self, platform: str, sha256: str, *, livemode: bool) -> Searched | Unusable:
        """What an uploaded image shows; StoreAway when the store does not answer: intake stored it before it sent."""
        try:
            image = await self._uploads.read(platform, sha256)
        except FileNotFoundError:
            FETCHES.labels("missing").inc()
            return Unusable("unfetchable", "the uploaded image is not in the store")
        FETCHES.labels("uploaded").inc()
        return await self._search(image, livemode=livemode)

    async def _search(self, image: bytes, *, livemode: bool) -> Searched | Unusable:
        loop = asyncio.get_running_loop()
        knew = None if self._knowledge is None else self._knowledge.now()
        outcome = await loop.run_in_executor(
            self._executor, search_image, image, self._index, livemode, self._disclosures, knew
        )
        if isinstance(outcome, Searched) and outcome.seen:
            await self._evidence.keep(image)
        return outcome

    async def _fetch(self, url: str, deadline_s: float) -> bytes | Unusable:
        try:
            fetched = await self._http.get(url, deadline_s=deadline_s, bytes_max=IMAGE_BYTES_MAX)
        except Refused as refusal:
            return Unusable("unfetchable", str(refusal))
        if fetched.status != 200:
            return Unusable("unfetchable", f"the host answered {fetched.status}")
        return fetched.body


def search_image(
    image: bytes, index: ReferenceIndex, livemode: bool, disclosures: Disclosures, knew: Moment | None = None
) -> Searched | Unusable:
    """Decode, describe and search one image; pure but for the index and the metrics.

    knew: what the index knew before; None when the fingerprint is not kept.
    """
    start = time.thread_time()
    picture = decode(image)
    if isinstance(picture, Undecodable):
        return Unusable("undecodable", picture.reason)
    decoded = time.thread_time()
    query = fingerprint_query(picture)
    described = time.thread_time()
    digest = digest_of(image)
    IMAGE_SECONDS.labels("decode").observe(decoded - start)
    IMAGE_SECONDS.labels("describe").observe(described - decoded)
    asked = time.thread_time()
    disclosure = disclosures.of(image)
    IMAGE_SECONDS.labels("disclose").observe(time.thread_time() - asked)
    seen = seen_in(query, index, digest=digest, livemode=livemode, disclosure=disclosure)
    return Searched(digest, seen, None if knew is None else _kept(query, knew, disclosure))


def seen_in(
    query: QueryFingerprint, index: ReferenceIndex, *, digest: str, livemode: bool, disclosure: Disclosure | None
) -> tuple[Seen, ...]:
    """What the index finds in an image of this digest, which disclosed this."""
    matches = index.search(query, livemode=livemode, spent=_searched)
    return tuple(_seen(match, digest, disclosure) for match in matches)


def _kept(query: QueryFingerprint, knew: Moment, disclosure: Disclosure) -> Query:
    start = time.thread_time()
    kept = Query(query.to_bytes(), knew, disclosure)
    IMAGE_SECONDS.labels("keep").observe(time.thread_time() - start)
    return kept


def _searched(stage: str, seconds: float) -> None:
    IMAGE_SECONDS.labels(f"search_{stage}").observe(seconds)


def _seen(match: Match, digest: str, disclosure: Disclosure | None) -> Seen:
    return Seen(
        reference_id=match.reference_id,
        twin_id=match.twin_id,
        media_digest=digest,
        score=match.score,
        region=match.region,
        transform=match.transform,
        description=match.description,
        algorithm=match.ALGORITHM,
        disclosure=disclosure,
        covered_share=match.covered_share,
    )
