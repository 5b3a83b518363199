"""Builds the exporter and runs it: `python -m infra.exporter`."""

import asyncio

from fastapi import FastAPI

from infra.exporter.broker import Broker
from infra.exporter.looking import Looking
from infra.exporter.settings import ExporterSettings
from infra.kafka.layout import read_layout
from shared.health import Health
from shared.logs import configure_logs, get_log
from shared.process import run_process

log = get_log()


async def main() -> None:
    """Run until SIGTERM."""
    settings = ExporterSettings.from_environment()
    configure_logs("exporter", settings.log_level)
    log.info("settings", **settings.masked())
    layout = read_layout()
    broker = Broker(settings, layout.groups, [f"{topic}.dlq" for topic in layout.topics])
    looking = Looking(broker, pause_s=settings.exporter_pause_s)
    app = FastAPI(title="exporter", docs_url=None, redoc_url=None, openapi_url=None)
    health = Health()
    health.ready_when("broker", looking.problem)
    health.add_pages(app)
    await run_process(app, {"looking": looking.run}, host=settings.http_host, port=settings.http_port)


if __name__ == "__main__":
    asyncio.run(main())
