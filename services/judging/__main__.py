"""Builds judging and runs it: `python -m services.judging`."""

import asyncio
from datetime import UTC, datetime

from services.judging.api import build_app
from services.judging.freshness import Freshness
from services.judging.lookups import Lookups
from services.judging.metrics import OLDEST_UNSENT_S
from services.judging.settings import JudgingSettings
from services.judging.store import JudgingStore
from services.judging.views import UseViews
from services.judging.worker import JudgingAgain, Lookout, SightingsWorker
from shared.access import AccessDirectory
from shared.database import Database
from shared.events.topics import (
    ACCESS,
    ALLOWANCES,
    CASES,
    CLOCK,
    CONSENTS,
    INFRINGEMENTS,
    LICENSES,
    PARTIES,
    SIGHTINGS,
    USAGE,
)
from shared.health import Health
from shared.kafka.deadletters import KafkaDeadLetters
from shared.kafka.faust_worker import consume_with_faust
from shared.kafka.lookup import LookupReader
from shared.kafka.producer import SteadyProducer
from shared.logs import configure_logs, get_log
from shared.outbox import Relay
from shared.outbox.watch import OutboxWatch
from shared.process import run_process

log = get_log()

LOOKUP_TOPICS = tuple(topic.name for topic in (LICENSES, CONSENTS, PARTIES, CASES, ALLOWANCES, CLOCK))


def _now() -> datetime:
    return datetime.now(UTC)


async def main() -> None:
    """Run until SIGTERM."""
    settings = JudgingSettings.from_environment()
    configure_logs("judging", settings.log_level)
    log.info("settings", **settings.masked())
    database = Database(settings.database_worker, "judging")
    requests = Database(settings.database_api, "judging", connections_max=4)
    relay = Relay(database, settings, topics=(USAGE, INFRINGEMENTS))
    OLDEST_UNSENT_S.set_function(lambda: relay.oldest_unsent_s)
    producer = SteadyProducer(settings)
    store = JudgingStore(database)
    freshness = Freshness(_now)
    reader = LookupReader(
        settings, LOOKUP_TOPICS, Lookups(database, freshness, bulk_from=settings.bulk_from_uses).learn
    )
    freshness.follow(reader)
    keys = AccessDirectory()
    access = LookupReader(settings, [ACCESS.name], keys.learn)

    def is_fresh() -> bool:
        return freshness.problem() is None

    worker = SightingsWorker(store, is_fresh, KafkaDeadLetters(producer, "judging"), judged=relay.wake)
    again = JudgingAgain(store, is_fresh, batch_max=settings.judge_again_batch_max, judged=relay.wake)
    lookout = Lookout(store, freshness)

    async def consume() -> None:
        # What is judged before the lookup data is whole would only be judged again.
        while not reader.caught_up():
            await asyncio.sleep(0.1)
        await consume_with_faust(
            settings,
            group="judging",
            topic=SIGHTINGS.name,
            handle_batch=worker.handle_batch,
            batch_max=settings.batch_max,
        )

    health = Health()
    watch = OutboxWatch(database)
    health.ready_when("database", watch.database)
    health.ready_when("relay", watch.relay)
    health.ready_when("lookups", reader.problem)
    health.ready_when("unreadable_lookups", lookout.unreadable_problem)
    health.ready_when("access", access.problem)
    app = build_app(UseViews(requests), keys, problem=lookout.problem)
    health.add_pages(app)
    await database.open()
    await requests.open()
    loops = {
        "lookups": reader.run,
        "access": access.run,
        "sightings": consume,
        "judging_again": again.run,
        "lookout": lookout.run,
        "relay": relay.run,
        "watch": watch.run,
    }
    try:
        await run_process(app, loops, host=settings.http_host, port=settings.http_port)
    finally:
        await producer.stop()
        await requests.close()
        await database.close()


if __name__ == "__main__":
    asyncio.run(main())
