"""Builds intake and runs it: `python -m services.intake`."""

import asyncio

from redis.asyncio import Redis

from services.intake.api import build_app
from services.intake.handlers import Parts
from services.intake.metrics import DEAD_LETTERS
from services.intake.settings import IntakeSettings
from services.intake.store import ObjectInbox, PlatformSecrets, PostsStream, RedisMarks
from shared.access import AccessDirectory
from shared.database import Database
from shared.database.watch import DatabaseWatch
from shared.dead_letters import Replays, add_replays
from shared.events.topics import ACCESS
from shared.health import Health
from shared.kafka.deadletters import KafkaDeadLetters
from shared.kafka.lookup import LookupReader, learning
from shared.kafka.producer import SteadyProducer
from shared.logs import configure_logs, get_log
from shared.objects import open_store
from shared.process import run_process
from shared.setting_types import cipher_of
from shared.tracing import configure_tracing

log = get_log()


async def main() -> None:
    """Run until SIGTERM."""
    settings = IntakeSettings.from_environment()
    configure_logs("intake", settings.log_level)
    configure_tracing("intake", settings.otlp_endpoint)
    log.info("settings", **settings.masked())
    database = Database(settings.database_api, "intake")
    producer = SteadyProducer(settings, send_timeout_s=settings.send_timeout_s)
    redis = Redis.from_url(settings.redis.get_secret_value(), socket_timeout=0.3, socket_connect_timeout=0.3)
    keys = AccessDirectory()
    letters = KafkaDeadLetters(producer, "intake.access", DEAD_LETTERS)
    reader = LookupReader(settings, [ACCESS.name], learning(keys.learn, letters))
    parts = Parts(
        secrets=PlatformSecrets(database, cipher_of(settings.secret_key)),
        inbox=ObjectInbox(open_store(settings.store)),
        marks=RedisMarks(redis, days=settings.duplicate_mark_days),
        stream=PostsStream(producer),
    )
    app = build_app(settings, parts, producer, keys)
    add_replays(app, {"intake.access": Replays(keys.learn, in_memory=True)})
    health = Health()
    watch = DatabaseWatch(database)
    health.ready_when("database", watch.problem)
    health.ready_when("access", reader.problem)
    health.add_pages(app)
    await database.open()
    loops = {"access": reader.run, "watch": watch.run}
    try:
        await run_process(app, loops, host=settings.http_host, port=settings.http_port)
    finally:
        await producer.stop()
        await database.close()
        await redis.aclose()


if __name__ == "__main__":
    asyncio.run(main())
