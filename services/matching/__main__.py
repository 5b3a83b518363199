"""Builds matching and runs it: `python -m services.matching`."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

from services.matching.api import build_app
from services.matching.looking import ImageLooker
from services.matching.recognition import ReferenceIndex, warm_up
from services.matching.references import LiveReferences
from services.matching.settings import MatchingSettings
from services.matching.store import MatchingStore, MediaViews
from services.matching.worker import PendingFetches, PostsWorker
from shared.access import AccessDirectory
from shared.database import Database
from shared.events.topics import ACCESS, POSTS, REFERENCES, SIGHTINGS
from shared.health import Health
from shared.kafka.deadletters import KafkaDeadLetters
from shared.kafka.faust_worker import consume_with_faust
from shared.kafka.lookup import LookupReader
from shared.kafka.producer import SteadyProducer
from shared.logs import configure_logs, get_log
from shared.objects import Evidence, Uploads, open_store
from shared.outbox import Relay
from shared.outbox.watch import OutboxWatch
from shared.process import run_process
from shared.safe_http import AllowedAddresses, SafeHttp

log = get_log()


async def main() -> None:
    """Run until SIGTERM."""
    settings = MatchingSettings.from_environment()
    configure_logs("matching", settings.log_level)
    log.info("settings", **settings.masked())
    executor = ThreadPoolExecutor(settings.image_threads, thread_name_prefix="image")
    await asyncio.get_running_loop().run_in_executor(executor, warm_up)
    worker_database = Database(settings.database_worker, "matching")
    api_database = Database(settings.database_api, "matching", connections_max=4)
    index = ReferenceIndex()
    references = LiveReferences(index, worker_database, executor)
    reference_reader = LookupReader(settings, [REFERENCES.name], references.learn, batch_max=50)
    keys = AccessDirectory()
    access_reader = LookupReader(settings, [ACCESS.name], keys.learn)
    http = SafeHttp(AllowedAddresses.parse(settings.media_allowed_addresses))
    objects = open_store(settings.store)
    evidence = Evidence(objects)
    looker = ImageLooker(http, Uploads(objects), index, evidence, executor)
    store = MatchingStore(worker_database, attempts_max=settings.fetch_attempts_max)
    relay = Relay(worker_database, settings, topics=(SIGHTINGS,))
    producer = SteadyProducer(settings)
    worker = PostsWorker(
        store, looker, relay, KafkaDeadLetters(producer, "matching"), fetch_s=settings.fetch_in_stream_s
    )

    async def consume() -> None:
        # An image that is searched before the index is whole would be called unknown for good.
        while not reference_reader.caught_up():
            await asyncio.sleep(0.1)
        await consume_with_faust(
            settings,
            group="matching",
            topic=POSTS.name,
            handle_batch=worker.handle_batch,
            batch_max=settings.batch_max,
        )

    health = Health()
    watch = OutboxWatch(worker_database)
    health.ready_when("database", watch.database)
    health.ready_when("relay", watch.relay)
    health.ready_when("references", reference_reader.problem)
    health.ready_when("access", access_reader.problem)
    app = build_app(MediaViews(api_database), evidence, keys)
    health.add_pages(app)
    await worker_database.open()
    await api_database.open()
    loops = {
        "references": reference_reader.run,
        "access": access_reader.run,
        "posts": consume,
        "pending_fetches": PendingFetches(store, looker, relay, fetch_s=settings.fetch_later_s).run,
        "relay": relay.run,
        "watch": watch.run,
    }
    try:
        await run_process(app, loops, host=settings.http_host, port=settings.http_port)
    finally:
        await producer.stop()
        await http.aclose()
        await worker_database.close()
        await api_database.close()
        executor.shutdown(wait=False, cancel_futures=True)


if __name__ == "__main__":
    asyncio.run(main())
