"""The parts behind intake's handlers: PostgreSQL, the inbox, Redis, Kafka."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import chain
from urllib.parse import quote

from cryptography.fernet import MultiFernet
from obstore.store import ObjectStore
from psycopg.rows import DictRow
from redis.asyncio import Redis
from redis.exceptions import RedisError

from services.intake.domain import Webhook
from services.intake.metrics import DOUBTFUL, MARKS_MISSED, UNACKNOWLEDGED
from services.intake.signatures import PlatformSecret
from services.intake.together import Together
from shared.access import Caller
from shared.database import Database, every, one
from shared.events import PostFact
from shared.ids import digest_of
from shared.kafka.producer import NotSent, SteadyProducer
from shared.logs import get_log
from shared.objects import Uploads, put

log = get_log()

CACHE_S = 2.0


class PlatformSecrets:
    """Platforms and their secrets in PostgreSQL, encrypted at rest; what was read is reused for two seconds."""

    def __init__(self, database: Database, cipher: MultiFernet) -> None:
        self._database = database
        self._cipher = cipher
        self._cache: dict[str, tuple[float, Sequence[PlatformSecret] | None]] = {}

    async def of_platform(self, platform: str) -> Sequence[PlatformSecret] | None:
        """The secrets of a platform, newest first; None when there is no such platform."""
        now = asyncio.get_running_loop().time()
        known = self._cache.get(platform)
        if known is None or known[0] < now:
            known = (now + CACHE_S, await self._load(platform))
            if len(self._cache) > 1000:
                self._cache.clear()
            self._cache[platform] = known
        return known[1]

    async def register(self, caller: Caller, platform: str) -> None:
        """Let a platform send; registering twice changes nothing."""
        async with self._database.transaction(caller) as connection:
            await connection.execute("insert into platforms (platform) values (%s) on conflict do nothing", (platform,))
        self._cache.pop(platform, None)

    async def add(self, caller: Caller, secret: PlatformSecret, *, overlap: timedelta) -> bool:
        """Store a new secret and let the older ones of its mode expire after the overlap; False: no such platform."""
        async with self._database.transaction(caller) as connection:
            if await one(connection, "select from platforms where platform = %s", (secret.platform,)) is None:
                return False
            await connection.execute(
                "update platform_secrets set expires_at = least(coalesce(expires_at, 'infinity'), %s)"
                " where platform = %s and livemode = %s and revoked_at is null",
                (secret.created_at + overlap, secret.platform, secret.livemode),
            )
            await connection.execute(
                "insert into platform_secrets (secret_id, platform, livemode, secret, created_at)"
                " values (%s, %s, %s, %s, %s)",
                (
                    secret.secret_id,
                    secret.platform,
                    secret.livemode,
                    self._cipher.encrypt(secret.text.encode()),
                    secret.created_at,
                ),
            )
        self._cache.pop(secret.platform, None)
        return True

    async def list(self, caller: Caller, platform: str) -> Sequence[PlatformSecret] | None:
        """The secrets of a platform in the caller's mode; None when the caller has no such platform."""
        async with self._database.transaction(caller) as connection:
            if await one(connection, "select from platforms where platform = %s", (platform,)) is None:
                return None
            rows = await every(
                connection,
                "select * from platform_secrets where platform = %s and livemode = %s order by created_at desc",
                (platform, caller.livemode),
            )
        return [self._secret(row) for row in rows]

    async def revoke(self, caller: Caller, platform: str, secret_id: str, now: datetime) -> bool:
        """Stop a secret at once; False when the caller has no such secret."""
        async with self._database.transaction(caller) as connection:
            found = await one(
                connection,
                "update platform_secrets set revoked_at = coalesce(revoked_at, %s)"
                " where platform = %s and secret_id = %s and livemode = %s returning secret_id",
                (now, platform, secret_id, caller.livemode),
            )
        self._cache.pop(platform, None)
        return found is not None

    async def _load(self, platform: str) -> Sequence[PlatformSecret] | None:
        # The request is not authenticated yet: it may see the secrets of the platform in its path, to be checked.
        caller = Caller("webhook", "platform", platform, livemode=True)
        async with self._database.transaction(caller) as connection:
            if await one(connection, "select from platforms where platform = %s", (platform,)) is None:
                return None
            # Both modes: which one it is follows from the secret that signed.
            rows = await every(
                connection, "select * from platform_secrets where platform = %s order by created_at desc", (platform,)
            )
        return [self._secret(row) for row in rows]

    def _secret(self, row: DictRow) -> PlatformSecret:
        return PlatformSecret(
            secret_id=row["secret_id"],
            platform=row["platform"],
            livemode=row["livemode"],
            text=self._cipher.decrypt(bytes(row["secret"])).decode(),
            created_at=row["created_at"],
            expires_at=row["expires_at"],
            revoked_at=row["revoked_at"],
        )


@dataclass(frozen=True)
class Kept:
    """A verified webhook on its way into the inbox."""

    webhook: Webhook
    secret_id: str

    def encoded(self) -> bytes:
        """A line of JSON about the request, the bytes as they came, and the end of the line.

        `body_bytes` says how many they are: a file of the inbox holds what came together, one after the other.
        """
        about = {
            "received_at": self.webhook.received_at.isoformat(),
            "secret_id": self.secret_id,
            "body_bytes": len(self.webhook.body),
            **{name: value for name, value in self.webhook.headers.items() if name.startswith("webhook-")},
        }
        return json.dumps(about).encode() + b"\n" + self.webhook.body + b"\n"


class ObjectInbox:
    """Raw bodies as files, by day and platform; the images that they uploaded lie beside them."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._uploads = Uploads(store)
        self._together: dict[str, Together[Kept, None]] = {}

    async def keep(self, webhook: Webhook, signed_by: PlatformSecret, uploads: Mapping[str, bytes]) -> None:
        """Store the webhook, with what comes at the same moment of the same platform, and its images by digest."""
        for sha256, image in uploads.items():
            await self._uploads.keep(webhook.platform, sha256, image)
        # Only platforms that are registered come this far.
        platform = self._together.setdefault(webhook.platform, Together(self._keep_together))
        await platform.ask(Kept(webhook, signed_by.secret_id))

    async def _keep_together(self, several: Sequence[Kept]) -> Sequence[None]:
        content = b"".join(each.encoded() for each in several)
        first = several[0].webhook
        # The digest: a file is never written over by another one of the same moment.
        name = f"{first.received_at:%H%M%S.%f}-{digest_of(content).removeprefix('sha256:')[:16]}"
        await put(self._store, f"inbox/{first.received_at:%Y-%m-%d}/{quote(first.platform, safe='')}/{name}", content)
        return [None] * len(several)


class RedisMarks:
    """Duplicate marks in Redis. Redis being away means no marks: counted, never a refusal."""

    def __init__(self, redis: Redis, *, days: int) -> None:
        self._redis = redis
        self._seconds = days * 24 * 60 * 60
        self._looked_up = Together(self._look_up)
        self._written = Together(self._write)

    async def known(self, marks: Sequence[str]) -> set[str]:
        """Which of these were remembered; none when Redis is away."""
        return await self._looked_up.ask(marks) if marks else set()

    async def remember(self, marks: Sequence[str]) -> None:
        """Remember them; a mark that cannot be written costs one repeat."""
        await self._written.ask(marks)

    async def _look_up(self, several: Sequence[Sequence[str]]) -> list[set[str]]:
        marks = [mark for each in several for mark in each]
        try:
            found = await self._redis.mget([self._name(mark) for mark in marks])
        except (RedisError, OSError) as error:
            self._missed(error)
            return [set() for _ in several]
        known = {mark for mark, value in zip(marks, found, strict=True) if value is not None}
        return [known.intersection(each) for each in several]

    async def _write(self, several: Sequence[Sequence[str]]) -> Sequence[None]:
        try:
            async with self._redis.pipeline(transaction=False) as pipeline:
                for mark in chain.from_iterable(several):
                    pipeline.set(self._name(mark), b"1", ex=self._seconds)
                await pipeline.execute()
        except (RedisError, OSError) as error:
            self._missed(error)
        return [None] * len(several)

    def _missed(self, error: Exception) -> None:
        MARKS_MISSED.inc()
        log.warning("duplicate_marks_missed", error=f"{type(error).__name__}: {error}")

    def _name(self, mark: str) -> str:
        return f"intake:taken:{mark}"


class PostsStream:
    """posts.v1 through one idempotent producer."""

    def __init__(self, producer: SteadyProducer) -> None:
        self._producer = producer
        UNACKNOWLEDGED.set_function(lambda: producer.unacknowledged)

    async def send(self, fact: PostFact) -> bool:
        """Send one fact; False when the broker did not acknowledge in time (it may still arrive)."""
        try:
            await self._producer.send(fact.topic.name, key=fact.message_key().encode(), value=fact.encode())
        except NotSent as error:
            log.warning("post_not_sent", event_id=str(fact.event_id()), error=str(error))
            return False
        if fact.time_doubtful:
            DOUBTFUL.inc()
        return True
