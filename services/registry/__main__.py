"""Builds the registry and runs it: `python -m services.registry`."""

import asyncio
from datetime import UTC, datetime

from services.registry.api import Parts, build_app
from services.registry.clock import ClockWatch
from services.registry.metrics import OUTBOX
from services.registry.press import ThreadPress
from services.registry.settings import RegistrySettings
from services.registry.store import Gallery, KeyTable, Store
from shared.database import Database
from shared.events.topics import ACCESS, CONSENTS, LICENSES, PARTIES, REFERENCES
from shared.health import Health
from shared.logs import configure_logs, get_log
from shared.objects import Evidence, open_store
from shared.outbox import Relay
from shared.outbox.watch import OutboxWatch
from shared.process import run_process
from shared.tracing import configure_tracing

log = get_log()

TOPICS = (PARTIES, REFERENCES, LICENSES, CONSENTS, ACCESS)


async def main() -> None:
    """Run until SIGTERM."""
    settings = RegistrySettings.from_environment()
    configure_logs("registry", settings.log_level)
    configure_tracing("registry", settings.otlp_endpoint)
    log.info("settings", **settings.masked())
    streams = Database(settings.database_worker, "registry")
    requests = Database(settings.database_api, "registry")
    relay = Relay(streams, settings, topics=TOPICS, watermark=True)
    watch = OutboxWatch(streams)
    OUTBOX.follow(watch)
    clock = ClockWatch(requests, lambda: datetime.now(UTC))
    parts = Parts(
        store=Store(requests, committed=relay.wake),
        press=ThreadPress(settings.fingerprints_at_once),
        images=Evidence(open_store(settings.store)),
        keys=KeyTable(requests),
        gallery=Gallery(streams),
    )
    app = build_app(settings, parts)
    health = Health()
    watch.add_checks(health)
    health.ready_when("clock", clock.problem)
    health.add_pages(app)
    await streams.open()
    await requests.open()
    try:
        loops = {"relay": relay.run, "watch": watch.run, "clock": clock.run}
        await run_process(app, loops, host=settings.http_host, port=settings.http_port)
    finally:
        await requests.close()
        await streams.close()


if __name__ == "__main__":
    asyncio.run(main())
