"""Builds royalty and runs it: `python -m services.royalty`."""

import asyncio
from datetime import datetime

from services.royalty.api import build_app
from services.royalty.metrics import DEAD_LETTERS, OUTBOX
from services.royalty.offsets import StoredOffsets
from services.royalty.reports import LedgerReports
from services.royalty.settings import RoyaltySettings
from services.royalty.store import open_first_period
from services.royalty.worker import UsageWorker
from shared.access import AccessDirectory
from shared.database import Database
from shared.dead_letters import Replays, add_replays
from shared.events.topics import ACCESS, ROYALTIES, USAGE
from shared.health import Health
from shared.kafka.consuming import GroupConsumer
from shared.kafka.deadletters import KafkaDeadLetters
from shared.kafka.lookup import LookupReader, learning
from shared.kafka.producer import SteadyProducer
from shared.kafka.stall import Stall
from shared.logs import configure_logs, get_log
from shared.outbox import Relay
from shared.outbox.watch import OutboxWatch
from shared.process import run_process
from shared.tracing import configure_tracing

log = get_log()


async def main() -> None:
    """Run until SIGTERM."""
    settings = RoyaltySettings.from_environment()
    configure_logs("royalty", settings.log_level)
    configure_tracing("royalty", settings.otlp_endpoint)
    log.info("settings", **settings.masked())
    stall = Stall(settings.stalled_after_s)
    ledger = Database(settings.database_worker, "royalty")
    requests = Database(settings.database_api, "royalty")
    relay = Relay(ledger, settings, topics=(ROYALTIES,))
    producer = SteadyProducer(settings)
    offsets = StoredOffsets(ledger)
    worker = UsageWorker(offsets, KafkaDeadLetters(producer, "royalty", DEAD_LETTERS), booked=relay.wake)
    consumer = GroupConsumer(
        settings,
        group="royalty",
        topics=[USAGE.name],
        stored_offsets=offsets.read,
        batch_max=settings.batch_max,
        stall=stall,
    )
    keys = AccessDirectory()
    letters = KafkaDeadLetters(producer, "royalty.access", DEAD_LETTERS)
    reader = LookupReader(settings, [ACCESS.name], learning(keys.learn, letters))
    app = build_app(LedgerReports(requests), keys)
    add_replays(app, {"royalty": Replays(worker.replay), "royalty.access": Replays(keys.learn, in_memory=True)})
    health = Health()
    health.live_when("stream", stall.problem)
    watch = OutboxWatch(ledger)
    OUTBOX.follow(watch)
    watch.add_checks(health)
    health.ready_when("access", reader.problem)
    health.add_pages(app)
    await ledger.open()
    await requests.open()
    try:
        log.info("booking_period", period=await _open_period(ledger, settings))
        loops = {
            "usage": lambda: consumer.run(worker.handle),
            "relay": relay.run,
            "access": reader.run,
            "watch": watch.run,
        }
        await run_process(app, loops, host=settings.http_host, port=settings.http_port)
    finally:
        await producer.stop()
        await requests.close()
        await ledger.close()


async def _open_period(ledger: Database, settings: RoyaltySettings) -> str:
    first = settings.royalty_first_period or f"{datetime.now(settings.zone()):%Y-%m}"
    return await open_first_period(ledger, first, time_zone=settings.royalty_time_zone)


if __name__ == "__main__":
    asyncio.run(main())
