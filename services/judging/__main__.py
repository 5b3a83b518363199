"""Builds judging and runs it: `python -m services.judging`."""

import asyncio
from datetime import UTC, datetime
from functools import partial

from services.judging.api import build_app
from services.judging.freshness import Freshness
from services.judging.lookups import AccusationStop, Lookups
from services.judging.metrics import DEAD_LETTERS, LOOKUPS_AGE_S, OUTBOX
from services.judging.settings import JudgingSettings
from services.judging.store import JudgingStore
from services.judging.views import UseViews
from services.judging.worker import JudgingAgain, Lookout, SightingsWorker
from shared.access import AccessDirectory
from shared.database import Database
from shared.dead_letters import Replays, add_replays
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
from shared.kafka.lookup import LookupReader, learning
from shared.kafka.producer import SteadyProducer
from shared.kafka.stall import Stall
from shared.logs import configure_logs, get_log
from shared.outbox import Relay
from shared.outbox.watch import OutboxWatch
from shared.process import Loop, run_process
from shared.tracing import configure_tracing

log = get_log()

LOOKUP_TOPICS = tuple(topic.name for topic in (LICENSES, CONSENTS, PARTIES, CASES, ALLOWANCES, CLOCK))


def _now() -> datetime:
    return datetime.now(UTC)


async def main() -> None:
    """Run until SIGTERM."""
    settings = JudgingSettings.from_environment()
    configure_logs("judging", settings.log_level)
    configure_tracing("judging", settings.otlp_endpoint)
    log.info("settings", **settings.masked())
    stall = Stall(settings.stalled_after_s)
    database = Database(settings.database_worker, "judging")
    requests = Database(settings.database_api, "judging", connections_max=4)
    relay = Relay(database, settings, topics=(USAGE, INFRINGEMENTS))
    producer = SteadyProducer(settings)
    store = JudgingStore(database)
    freshness = Freshness(_now)
    lookups = Lookups(database, freshness, bulk_from=settings.bulk_from_uses)
    stop = AccusationStop(database, KafkaDeadLetters(producer, "judging.lookups", DEAD_LETTERS))
    reader = LookupReader(settings, LOOKUP_TOPICS, learning(lookups.learn, stop))
    freshness.follow(reader)
    keys = AccessDirectory()
    letters = KafkaDeadLetters(producer, "judging.access", DEAD_LETTERS)
    access = LookupReader(settings, [ACCESS.name], learning(keys.learn, letters))

    def is_fresh() -> bool:
        return freshness.problem() is None

    letters = KafkaDeadLetters(producer, "judging", DEAD_LETTERS)
    worker = SightingsWorker(store, is_fresh, letters, judged=relay.wake)
    again = JudgingAgain(store, is_fresh, batch_max=settings.judge_again_batch_max, judged=relay.wake)
    lookout = Lookout(store, freshness)
    watch = OutboxWatch(database)
    OUTBOX.follow(watch)
    LOOKUPS_AGE_S.set_function(freshness.age_s)
    app = build_app(UseViews(requests), keys, problem=lookout.problem)
    add_replays(
        app,
        {
            "judging": Replays(worker.take),
            "judging.lookups": Replays(lookups.learn),
            "judging.access": Replays(keys.learn, in_memory=True),
        },
    )
    _health(stall, watch, lookups=reader, lookout=lookout, access=access).add_pages(app)
    await database.open()
    await requests.open()
    loops: dict[str, Loop] = {
        "lookups": reader.run,
        "access": access.run,
        "sightings": partial(_consume, settings, worker, lookups=reader, stall=stall),
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


async def _consume(settings: JudgingSettings, worker: SightingsWorker, *, lookups: LookupReader, stall: Stall) -> None:
    # What is judged before the lookup data is whole would only be judged again.
    await lookups.until_caught_up()
    await consume_with_faust(
        settings,
        group="judging",
        topic=SIGHTINGS.name,
        handle_batch=worker.handle_batch,
        batch_max=settings.batch_max,
        stall=stall,
    )


def _health(
    stall: Stall, watch: OutboxWatch, *, lookups: LookupReader, lookout: Lookout, access: LookupReader
) -> Health:
    health = Health()
    health.live_when("stream", stall.problem)
    watch.add_checks(health)
    health.ready_when("lookups", lookups.problem)
    health.ready_when("unreadable_lookups", lookout.unreadable_problem)
    health.ready_when("access", access.problem)
    return health


if __name__ == "__main__":
    asyncio.run(main())
