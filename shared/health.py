"""The pages every service has: /health/live, /health/ready, /metrics."""

import sys
from collections.abc import Callable

from fastapi import FastAPI, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

Check = Callable[[], str | None]


class Health:
    """Named checks; each returns what is wrong, or None."""

    def __init__(self) -> None:
        self._ready: dict[str, Check] = {}
        self._live: dict[str, Check] = {}

    def ready_when(self, name: str, check: Check) -> None:
        """Add a check that must pass before the service is given work."""
        self._ready[name] = check

    def live_when(self, name: str, check: Check) -> None:
        """Add a check whose failure means that the process must be restarted."""
        self._live[name] = check

    def add_pages(self, app: FastAPI) -> None:
        """Add the three pages to a service's application."""

        @app.get("/health/live", include_in_schema=False)
        async def live() -> Response:
            return _answer(self._live)

        @app.get("/health/ready", include_in_schema=False)
        async def ready() -> Response:
            return _answer(self._ready)

        @app.get("/metrics", include_in_schema=False)
        async def metrics() -> Response:
            return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)


def _answer(checks: dict[str, Check]) -> Response:
    found = {name: check() for name, check in checks.items()}
    failed = any(problem is not None for problem in found.values())
    return JSONResponse({name: problem or "ok" for name, problem in found.items()}, status_code=503 if failed else 200)


def _probe(address: str) -> int:
    """Ask a health page, for a container that has no other client; 0 when it answers 200."""
    from urllib.error import URLError
    from urllib.request import urlopen

    try:
        with urlopen(address, timeout=2) as answer:  # noqa: S310 - the address is the caller's own
            return 0 if answer.status == 200 else 1
    except (URLError, OSError) as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    raise SystemExit(_probe(sys.argv[1]))
