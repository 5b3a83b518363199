"""The parts behind intake's handlers: PostgreSQL, the inbox, Redis, Kafka."""

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from urllib.parse import quote

from cryptography.fernet import MultiFernet
from obstore.store import ObjectStore
from psycopg.rows import DictRow
from pydantic_core import to_json
from redis.asyncio import Redis
from redis.exceptions import RedisError

from services.intake.domain import Delivery, Marked
from services.intake.metrics import DOUBTFUL, MARKS_MISSED, UNACKNOWLEDGED
from services.intake.signatures import PlatformSecret
from shared.access import Caller
from shared.database import Database, every, one
from shared.ids import digest_of
from shared.kafka.producer import Outgoing, SteadyProducer
from shared.logs import get_log
from shared.objects import Uploads, put
from shared.tracing import in_headers

log = get_log()

CACHE_S = 2.0
# One command for all marks of a round: redis-py takes longer over a command than Redis does.
REMEMBER = "for _, mark in ipairs(KEYS) do redis.call('set', mark, 1, 'ex', ARGV[1]) end"


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


class ObjectInbox:
    """Raw bodies as files, by day and platform; the images that they uploaded lie beside them."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._uploads = Uploads(store)

    async def keep(self, several: Sequence[Delivery]) -> None:
        """Store webhooks, in one file those of a platform, and their images by digest."""
        by_platform: dict[str, list[Delivery]] = {}
        for each in several:
            by_platform.setdefault(each.webhook.platform, []).append(each)
        await asyncio.gather(
            *(
                self._uploads.keep(each.webhook.platform, sha256, image)
                for each in several
                for sha256, image in each.uploads.items()
            ),
            *(self._keep_bodies(platform, here) for platform, here in by_platform.items()),
        )

    async def _keep_bodies(self, platform: str, several: Sequence[Delivery]) -> None:
        content = b"".join(map(_encoded, several))
        first = several[0].webhook.received_at
        # The digest: a file is never written over by another one of the same moment.
        name = f"{first:%H%M%S.%f}-{digest_of(content).removeprefix('sha256:')[:16]}"
        await put(self._store, f"inbox/{first:%Y-%m-%d}/{quote(platform, safe='')}/{name}", content)


def _encoded(delivery: Delivery) -> bytes:
    """A line of JSON about the request, the bytes as they came, and the end of the line.

    `body_bytes` says how many they are: a file of the inbox holds what came together, one after the other.
    """
    webhook = delivery.webhook
    about = {
        "received_at": webhook.received_at.isoformat(),
        "secret_id": delivery.secret_id,
        "body_bytes": len(webhook.body),
        **{name: value for name, value in webhook.headers.items() if name.startswith("webhook-")},
    }
    return to_json(about) + b"\n" + webhook.body + b"\n"


class RedisMarks:
    """Duplicate marks in Redis. Redis being away means no marks: counted, never a refusal."""

    def __init__(self, redis: Redis, *, days: int) -> None:
        self._redis = redis
        self._remember = redis.register_script(REMEMBER)
        self._seconds = days * 24 * 60 * 60

    async def known(self, marks: Sequence[str]) -> set[str]:
        """Which of these were remembered; none when Redis is away."""
        if not marks:
            return set()
        try:
            found = await self._redis.mget([self._name(mark) for mark in marks])
        except (RedisError, OSError) as error:
            self._missed(error)
            return set()
        return {mark for mark, value in zip(marks, found, strict=True) if value is not None}

    async def remember(self, marks: Sequence[str]) -> None:
        """Remember them; a mark that cannot be written costs one repeat."""
        try:
            await self._remember(keys=[self._name(mark) for mark in marks], args=[self._seconds])
        except (RedisError, OSError) as error:
            self._missed(error)

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

    async def send(self, several: Sequence[Marked]) -> Sequence[bool]:
        """Send facts; False for each that the broker did not acknowledge in time (it may still arrive)."""
        arrived = await self._producer.send_each([_record(each) for each in several])
        for each, came in zip(several, arrived, strict=True):
            if not came:
                log.warning("post_not_sent", event_id=each.event_id)
            elif each.fact.time_doubtful:
                DOUBTFUL.inc()
        return arrived


def _record(marked: Marked) -> Outgoing:
    fact = marked.fact
    value = fact.encode(event_id=marked.event_id)
    return fact.topic.name, fact.message_key().encode(), value, in_headers(marked.traceparent)
