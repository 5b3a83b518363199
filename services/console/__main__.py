"""Builds the console and runs it: `python -m services.console`."""

import asyncio

from services.console.api import build_app
from services.console.desk import Desk
from services.console.pages import Pages
from services.console.session import Sessions
from services.console.settings import ConsoleSettings
from services.console.upstream import Services
from shared.health import Health
from shared.logs import configure_logs, get_log
from shared.process import run_process

log = get_log()


async def main() -> None:
    """Run until SIGTERM."""
    settings = ConsoleSettings.from_environment()
    configure_logs("console", settings.log_level)
    log.info("settings", **settings.masked())
    sessions = Sessions(
        settings.secret_key, lasts=settings.session, secure=settings.cookie_secure, port=settings.http_port
    )
    services = Services(settings.addresses(), timeout_s=settings.upstream_timeout_s)
    app = build_app(Desk(services, sessions, Pages()), secure=settings.cookie_secure)
    # Ready whatever the others do: a page that says which part is away is better than none.
    Health().add_pages(app)
    try:
        await run_process(app, {}, host=settings.http_host, port=settings.http_port)
    finally:
        await services.aclose()


if __name__ == "__main__":
    asyncio.run(main())
