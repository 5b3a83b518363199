"""Builds matching and runs it: `python -m services.matching`."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from services.matching.additions import Knowledge
from services.matching.api import build_app
from services.matching.disclosure import Disclosures
from services.matching.evidence_store import EvidenceStore
from services.matching.hosts import Hosts
from services.matching.index_cache import IndexCache
from services.matching.late import LateSearches
from services.matching.late_evidence import LateEvidence
from services.matching.late_store import LateStore
from services.matching.looking import ImageLooker
from services.matching.metrics import DEAD_LETTERS, INDEX_AGE_S, OUTBOX
from services.matching.recognition import ReferenceIndex, warm_up
from services.matching.references import LiveReferences
from services.matching.settings import MatchingSettings
from services.matching.store import MatchingStore
from services.matching.views import MediaViews, PostViews
from services.matching.worker import PendingFetches, PostsWorker
from shared.access import AccessDirectory
from shared.database import Database
from shared.dead_letters import Replays, add_replays
from shared.events.topics import ACCESS, POSTS, REFERENCES, SIGHTINGS
from shared.health import Health
from shared.kafka import Record
from shared.kafka.deadletters import KafkaDeadLetters
from shared.kafka.faust_worker import consume_with_faust
from shared.kafka.lookup import LookupReader, learning
from shared.kafka.producer import SteadyProducer
from shared.kafka.stall import Stall
from shared.logs import configure_logs, get_log
from shared.objects import Evidence, Uploads, open_store
from shared.outbox import Relay
from shared.outbox.watch import OutboxWatch
from shared.process import Loop, run_process
from shared.safe_http import AllowedAddresses, SafeHttp
from shared.tracing import configure_tracing

log = get_log()


async def main() -> None:
    """Run until SIGTERM."""
    settings = MatchingSettings.from_environment()
    configure_logs("matching", settings.log_level)
    configure_tracing("matching", settings.otlp_endpoint)
    log.info("settings", **settings.masked())
    executor = ThreadPoolExecutor(settings.image_threads, thread_name_prefix="image")
    await asyncio.get_running_loop().run_in_executor(executor, warm_up)
    stall = Stall(settings.stalled_after_s)
    worker_database = Database(settings.database_worker, "matching")
    api_database = Database(settings.database_api, "matching", connections_max=4)
    index = ReferenceIndex()
    producer = SteadyProducer(settings)
    knowledge = Knowledge()
    cache = IndexCache(index, settings.index_folder)
    await asyncio.get_running_loop().run_in_executor(executor, cache.load)
    references = LiveReferences(index, worker_database, executor, knowledge, cache)
    letters = KafkaDeadLetters(producer, "matching.references", DEAD_LETTERS)
    learn = learning(references.learn, letters)
    reference_reader = LookupReader(settings, [REFERENCES.name], learn, batch_max=50)
    keys = AccessDirectory()
    letters = KafkaDeadLetters(producer, "matching.access", DEAD_LETTERS)
    access_reader = LookupReader(settings, [ACCESS.name], learning(keys.learn, letters))
    http = SafeHttp(AllowedAddresses.parse(settings.media_allowed_addresses))
    objects = open_store(settings.store)
    evidence = Evidence(objects)
    uploads = Uploads(objects)
    kept = knowledge if settings.query_days else None
    disclosures = Disclosures.trusting(settings.c2pa_trust_anchors)
    log.info("trust_list", digest=disclosures.trust_list)
    hosts = Hosts()
    looker = ImageLooker(http, uploads, index, evidence, executor, kept, disclosures, hosts)
    store = MatchingStore(worker_database, attempts_max=settings.fetch_attempts_max, knowledge=knowledge)
    relay = Relay(worker_database, settings, topics=(SIGHTINGS,))
    letters = KafkaDeadLetters(producer, "matching", DEAD_LETTERS)
    worker = PostsWorker(store, looker, relay, letters, fetch_s=settings.fetch_in_stream_s)
    index_whole = partial(references.until_whole, reference_reader.until_caught_up)
    fetches = PendingFetches(store, looker, relay, fetch_s=settings.fetch_later_s, index_whole=index_whole)
    late_evidence = LateEvidence(
        EvidenceStore(worker_database),
        http,
        uploads,
        evidence,
        hosts=hosts,
        fetch_s=settings.fetch_later_s,
        attempts_max=settings.fetch_attempts_max,
    )
    late = LateSearches(
        LateStore(worker_database),
        store,
        index,
        knowledge,
        relay,
        executor,
        index_whole=index_whole,
        query_days=settings.query_days,
        lease_s=settings.late_lease_s,
    )
    watch = OutboxWatch(worker_database)
    OUTBOX.follow(watch)
    INDEX_AGE_S.set_function(reference_reader.behind_s)
    app = build_app(MediaViews(api_database), evidence, keys, PostViews(api_database))
    add_replays(
        app,
        {
            "matching": Replays(partial(_take_again, worker, references, reference_reader)),
            "matching.references": Replays(references.learn, in_memory=True),
            "matching.access": Replays(keys.learn, in_memory=True),
        },
    )
    _health(stall, watch, references=reference_reader, access=access_reader).add_pages(app)
    await worker_database.open()
    await api_database.open()
    await references.begin()
    loops: dict[str, Loop] = {
        "references": reference_reader.run,
        "access": access_reader.run,
        "index_cache": partial(cache.run, index_whole),
        "posts": partial(_consume, settings, worker, index_whole=index_whole, stall=stall),
        "pending_fetches": fetches.run,
        "late_searches": late.run,
        "late_evidence": late_evidence.run,
        "purge": late.purge,
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


async def _consume(
    settings: MatchingSettings, worker: PostsWorker, *, index_whole: Callable[[], Awaitable[None]], stall: Stall
) -> None:
    # An image that is searched before the index is whole would be called unknown for good.
    await index_whole()
    await consume_with_faust(
        settings,
        group="matching",
        topic=POSTS.name,
        handle_batch=worker.handle_batch,
        batch_max=settings.batch_max,
        stall=stall,
    )


async def _take_again(
    worker: PostsWorker, references: LiveReferences, reader: LookupReader, records: Sequence[Record]
) -> None:
    if not (references.whole and reader.caught_up()):
        raise TimeoutError("the references are not read to their end")
    await worker.take(records)


def _health(stall: Stall, watch: OutboxWatch, *, references: LookupReader, access: LookupReader) -> Health:
    health = Health()
    health.live_when("stream", stall.problem)
    watch.add_checks(health)
    health.ready_when("references", references.problem)
    health.ready_when("access", access.problem)
    return health


if __name__ == "__main__":
    asyncio.run(main())
