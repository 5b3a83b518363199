"""Evidence of what was recognised late: the image was not kept then, so it is fetched or read once more.

An attempt asks a few of the posts that carry the image, the next attempt the next few, in a circle. When every one was
asked, and then as often as a pending fetch may, the image is given up. An outage of our own parts, or a host that is
left alone, is no attempt.

What was given up is looked over every hour, for the image may have been published again and kept by the stream.
"""

import asyncio
from collections.abc import Sequence

from services.matching.evidence_store import PAGE, SOURCES_MAX, EvidenceStore, Source
from services.matching.hosts import REST_S, Hosts, Resting
from services.matching.looking import IMAGE_BYTES_MAX
from services.matching.media import storable
from services.matching.metrics import LATE_EVIDENCE
from shared.ids import digest_of
from shared.kafka.passing import PASSING_FAULTS
from shared.logs import get_log
from shared.objects import Evidence, StoreAway, Uploads
from shared.safe_http import Fetched, Refused, SafeHttp

log = get_log()

CLAIM_MAX = 8
PAUSE_S = 1.0
LOOK_OVER_S = 3600.0
GIVEN_UP_DAYS = 365


class LateEvidence:
    """Gets images of late matches into the evidence store; only the very bytes that were searched count.

    The sighting stands without them: it was made from the stored fingerprint, whose picture is then not purged, for a
    year after the image was given up.
    """

    def __init__(
        self,
        missing: EvidenceStore,
        http: SafeHttp,
        uploads: Uploads,
        evidence: Evidence,
        *,
        hosts: Hosts,
        fetch_s: float,
        attempts_max: int,
    ) -> None:
        """hosts: those of the images in the stream, so that a host has one limit, whoever asks it."""
        self._missing = missing
        self._http = http
        self._uploads = uploads
        self._evidence = evidence
        self._hosts = hosts
        self._fetch_s = fetch_s
        self._attempts_max = attempts_max
        self._looks_over_at, self._looked_to = 0.0, ""

    async def run(self) -> None:
        """Claim and get until cancelled; faults of the database or the store are waited out."""
        while True:
            worked = False
            try:
                worked = await self.work_one_claim()
                await self._look_over_when_due()
            except PASSING_FAULTS as error:
                log.warning("late_evidence_waits", error=_told(error))
            if not worked:
                await asyncio.sleep(PAUSE_S)

    async def work_one_claim(self) -> bool:
        """One try for each image of a claim; False when there was none, or a part of ours was away."""
        claimed = await self._missing.claim(lease_s=self._fetch_s * 2 * SOURCES_MAX, most=CLAIM_MAX)
        troubles = await asyncio.gather(*map(self.get, claimed), return_exceptions=True)
        away = False
        for digest, trouble in zip(claimed, troubles, strict=True):
            if isinstance(trouble, PASSING_FAULTS):
                log.warning("late_evidence_waits", media_digest=digest, error=_told(trouble))
                away = True
            elif trouble is not None:
                # Not even its attempt could be stored. It comes again when its lease runs out; the others go on.
                log.error("late_evidence_failed", media_digest=digest, exc_info=trouble)
        return bool(claimed) and not away

    async def get(self, digest: str) -> None:
        """One try for one image; a passing fault of our own parts is raised, and counts as none."""
        try:
            result = await self._try(digest)
        except PASSING_FAULTS:
            raise
        except Exception as error:
            # Of its own fault: it spends its attempts and is given up, and the others go on.
            log.exception("late_evidence_failed", media_digest=digest)
            result = await self._again(digest, _told(error))
        LATE_EVIDENCE.labels(result).inc()

    async def look_over(self, after: str = "") -> str:
        """Done with what was given up and is evidence by now, or has been so long ago that it proves nothing more.

        A page at a time; returns where the next one begins, nothing after the last.
        """
        digests = await self._missing.given_up(after)
        for digest in digests:
            if await self._evidence.has(digest):
                await self._missing.found(digest)
                LATE_EVIDENCE.labels("known").inc()
        if len(digests) == PAGE:
            return digests[-1]
        if gone := await self._missing.forget(GIVEN_UP_DAYS):
            log.info("late_evidence_forgotten", images=gone, days=GIVEN_UP_DAYS)
        return ""

    async def _look_over_when_due(self) -> None:
        now = asyncio.get_running_loop().time()
        if now < self._looks_over_at:
            return
        # Between two pages come the images that are due: what was given up may be thousands.
        self._looked_to = await self.look_over(self._looked_to)
        if not self._looked_to:
            self._looks_over_at = now + LOOK_OVER_S

    async def _try(self, digest: str) -> str:
        if await self._evidence.has(digest):
            await self._missing.found(digest)
            return "known"
        asked, problem = await self._keep(digest, await self._missing.sources(digest))
        if not problem:
            await self._missing.found(digest)
            return "kept"
        if not asked:
            await self._missing.put_off(digest, REST_S)
            return "later"
        return await self._again(digest, problem)

    async def _again(self, digest: str, problem: str) -> str:
        if await self._missing.try_again(digest, problem, self._attempts_max):
            return "later"
        log.warning("late_evidence_gave_up", media_digest=digest, reason=problem)
        return "gave_up"

    async def _keep(self, digest: str, sources: Sequence[Source]) -> tuple[bool, str]:
        """Keep the image from the first source that still has it; else why none has, and whether any was asked."""
        asked, problem = not sources, "no post that can be read carries it"
        for source in sources:
            try:
                image = await self._image(source)
            except StoreAway:
                raise
            except Exception as error:  # whatever a source provokes is its own fault: the others are asked
                asked, problem = asked or not isinstance(error, Resting), _told(error)
                continue
            if digest_of(image) == digest:
                await self._evidence.keep(image)
                return True, ""
            asked, problem = True, "another image is published there now"
        return asked, problem

    async def _image(self, source: Source) -> bytes:
        url = source.media.url
        if url is None:
            return await self._uploads.read(source.platform, source.media.upload_sha256 or "")
        async with asyncio.timeout(self._fetch_s), self._hosts.visit(url):
            fetched = await self._fetch(url)
        if isinstance(fetched, Refused):
            raise fetched
        if fetched.status != 200:
            raise ValueError(f"the host answered {fetched.status}")
        return fetched.body

    async def _fetch(self, url: str) -> Fetched | Refused:
        try:
            return await self._http.get(url, deadline_s=self._fetch_s, bytes_max=IMAGE_BYTES_MAX)
        except Refused as refusal:
            # A value inside the visit: what we refuse is no failure of the host.
            return refusal


def _told(error: BaseException) -> str:
    return storable(f"{type(error).__name__}: {error}")
