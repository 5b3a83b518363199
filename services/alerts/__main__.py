"""Builds alerts and runs it: `python -m services.alerts`."""

import asyncio
from datetime import timedelta

from services.alerts.api import build_app
from services.alerts.delivery_store import DeliveryStore
from services.alerts.endpoint_store import EndpointStore
from services.alerts.handlers import Sending
from services.alerts.metrics import DEAD_LETTERS, OUTBOX
from services.alerts.settings import AlertsSettings
from services.alerts.store import CaseStore
from services.alerts.worker import Deliverer, Infringements
from shared.access import AccessDirectory
from shared.addresses import AllowedAddresses
from shared.database import Database
from shared.dead_letters import Replays, add_replays
from shared.events.topics import ACCESS, ALLOWANCES, CASES, INFRINGEMENTS
from shared.health import Health
from shared.kafka.consuming import GroupConsumer
from shared.kafka.deadletters import KafkaDeadLetters
from shared.kafka.lookup import LookupReader, learning
from shared.kafka.producer import SteadyProducer
from shared.kafka.stall import Stall
from shared.logs import configure_logs, get_log
from shared.outbox import Relay
from shared.outbox.watch import OutboxWatch
from shared.process import Loop, run_process
from shared.safe_http import SafeHttp
from shared.setting_types import cipher_of
from shared.tracing import configure_tracing

log = get_log()

# An attempt ends well before its lease: deadline, a second for the answer's body, and time to store the outcome.
LEASE_MARGIN_S = 20.0


async def main() -> None:
    """Run until SIGTERM."""
    settings = AlertsSettings.from_environment()
    configure_logs("alerts", settings.log_level)
    configure_tracing("alerts", settings.otlp_endpoint)
    log.info("settings", **settings.masked())
    stall = Stall(settings.stalled_after_s)
    worker = Database(settings.database_worker, "alerts")
    api = Database(settings.database_api, "alerts")
    http = SafeHttp(
        AllowedAddresses.parse(settings.alerts_allowed_addresses), connections_max=settings.alerts_concurrency_max
    )
    producer = SteadyProducer(settings)
    keys = AccessDirectory()
    letters = KafkaDeadLetters(producer, "alerts.access", DEAD_LETTERS)
    access = LookupReader(settings, [ACCESS.name], learning(keys.learn, letters))
    cipher = cipher_of(settings.secret_key)
    app = build_app(
        CaseStore(api),
        EndpointStore(api, cipher),
        http,
        keys,
        overlap=timedelta(hours=settings.alerts_secret_overlap_h),
    )
    health = Health()
    health.live_when("stream", stall.problem)
    watch = OutboxWatch(worker)
    OUTBOX.follow(watch)
    watch.add_checks(health)
    health.ready_when("access", access.problem)
    health.add_pages(app)
    queue = DeliveryStore(
        worker,
        cipher,
        lease=timedelta(seconds=settings.alerts_deadline_s + LEASE_MARGIN_S),
        per_endpoint=settings.alerts_endpoint_concurrency_max,
    )
    deliverer = Deliverer(
        queue, http, Sending(settings.alerts_deadline_s), concurrency_max=settings.alerts_concurrency_max
    )
    letters = KafkaDeadLetters(producer, "alerts", DEAD_LETTERS)
    infringements = Infringements(CaseStore(worker), letters, deliverer.wake)
    add_replays(app, {"alerts": Replays(infringements.take), "alerts.access": Replays(keys.learn, in_memory=True)})
    consumer = GroupConsumer(settings, group="alerts", topics=[INFRINGEMENTS.name], stall=stall)
    loops: dict[str, Loop] = {
        "access": access.run,
        "infringements": lambda: consumer.run(infringements.handle),
        "deliveries": deliverer.run,
        "measure": deliverer.measure,
        "relay": Relay(worker, settings, topics=(CASES, ALLOWANCES)).run,
        "watch": watch.run,
    }
    await worker.open()
    await api.open()
    try:
        await run_process(app, loops, host=settings.http_host, port=settings.http_port)
    finally:
        await http.aclose()
        await producer.stop()
        await api.close()
        await worker.close()


if __name__ == "__main__":
    asyncio.run(main())
