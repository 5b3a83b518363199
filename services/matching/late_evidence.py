"""Evidence of what was recognised late: the image was not kept then, so it is fetched or read once more."""

import asyncio
from collections.abc import Sequence

from services.matching.evidence_store import EvidenceStore, Source
from services.matching.hosts import Hosts, Resting
from services.matching.looking import IMAGE_BYTES_MAX
from services.matching.metrics import LATE_EVIDENCE
from shared.ids import digest_of
from shared.kafka.passing import PASSING_FAULTS
from shared.logs import get_log
from shared.objects import Evidence, Uploads
from shared.safe_http import Refused, SafeHttp, Unreachable

log = get_log()

CLAIM_MAX = 8
SOURCES_MAX = 5
PAUSE_S = 1.0


class LateEvidence:
    """Gets images of late matches into the evidence store; only the very bytes that were searched count.

    The sighting stands without them: it was made from the stored fingerprint, whose picture is then not purged.
    """

    def __init__(
        self,
        missing: EvidenceStore,
        http: SafeHttp,
        uploads: Uploads,
        evidence: Evidence,
        *,
        fetch_s: float,
        attempts_max: int,
    ) -> None:
        self._missing = missing
        self._http = http
        self._uploads = uploads
        self._evidence = evidence
        self._fetch_s = fetch_s
        self._attempts_max = attempts_max
        self._hosts = Hosts()

    async def run(self) -> None:
        """Claim and get until cancelled; faults of the database or the store are waited out."""
        while True:
            claimed: Sequence[str] = ()
            try:
                lease_s = self._fetch_s * 2 * SOURCES_MAX
                claimed = await self._missing.claim(lease_s=lease_s, most=CLAIM_MAX)
                await asyncio.gather(*map(self.get, claimed))
            except PASSING_FAULTS as error:
                log.warning("late_evidence_waits", error=f"{type(error).__name__}: {error}")
                claimed = ()
            if not claimed:
                await asyncio.sleep(PAUSE_S)

    async def get(self, digest: str) -> None:
        """One try for one image."""
        result, problem = "kept", ""
        if await self._evidence.has(digest):
            result = "known"
        else:
            problem = await self._keep(digest, await self._missing.sources(digest, SOURCES_MAX))
        if not problem:
            await self._missing.found(digest)
        elif await self._missing.try_again(digest, problem, self._attempts_max):
            result = "later"
        else:
            result = "gave_up"
            log.warning("late_evidence_gave_up", media_digest=digest, reason=problem)
        LATE_EVIDENCE.labels(result).inc()

    async def _keep(self, digest: str, sources: Sequence[Source]) -> str:
        """Keep the image from the first source that still has it; else why none has."""
        problem = "no post that can be read carries it"
        for source in sources:
            try:
                image = await self._image(source)
            except (Unreachable, Refused, Resting, TimeoutError, FileNotFoundError, ValueError) as error:
                problem = f"{type(error).__name__}: {error}"[:500]
                continue
            if digest_of(image) == digest:
                await self._evidence.keep(image)
                return ""
            problem = "another image is published there now"
        return problem

    async def _image(self, source: Source) -> bytes:
        url = source.media.url
        if url is None:
            return await self._uploads.read(source.platform, source.media.upload_sha256 or "")
        async with asyncio.timeout(self._fetch_s), self._hosts.visit(url):
            fetched = await self._http.get(url, deadline_s=self._fetch_s, bytes_max=IMAGE_BYTES_MAX)
        if fetched.status != 200:
            raise ValueError(f"the host answered {fetched.status}")
        return fetched.body
