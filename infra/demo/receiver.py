"""The agencies' webhook receiver: verifies every alert as Standard Webhooks and keeps what came."""

import json
import threading
from dataclasses import dataclass, field
from typing import Any

from standardwebhooks import Webhook, WebhookVerificationError

from infra.demo.host import HOST, QuietHandler, QuietServer


@dataclass
class Inbox:
    """What came for each agency: alerts by their `webhook-id`, and how many requests did not verify."""

    secrets: dict[str, str] = field(default_factory=dict)
    alerts: dict[str, dict[str, Any]] = field(default_factory=dict)
    refused: int = 0
    repeated: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, agency: str, headers: dict[str, str], body: bytes) -> int:
        """Verify and keep an alert; the status to answer with."""
        with self.lock:
            try:
                alert = Webhook(self.secrets[agency]).verify(body, headers)
            except (KeyError, WebhookVerificationError, ValueError):
                self.refused += 1
                return 401
            self.repeated += headers["webhook-id"] in self.alerts
            self.alerts[headers["webhook-id"]] = {"agency": agency, **alert}
        return 204

    def told(self) -> bytes:
        """Everything, as JSON."""
        with self.lock:
            told = {"alerts": list(self.alerts.values()), "refused": self.refused, "repeated": self.repeated}
        return json.dumps(told).encode()


def receiver(inbox: Inbox, port: int) -> QuietServer:
    """Takes `POST /AGENCY`."""

    class Handler(QuietHandler):
        def do_POST(self) -> None:  # noqa: N802 - the standard library calls it
            headers = {name.lower(): value for name, value in self.headers.items()}
            self.answer(inbox.take(self.path.strip("/"), headers, self.body()))

    return QuietServer((HOST, port), Handler)


def control(inbox: Inbox, port: int) -> QuietServer:
    """`PUT /secrets/AGENCY` with a secret as the body; `GET /alerts`; `/health/ready` for the stack."""

    class Handler(QuietHandler):
        def do_PUT(self) -> None:  # noqa: N802
            inbox.secrets[self.path.rsplit("/", 1)[1]] = self.body().decode()
            self.answer(204)

        def do_GET(self) -> None:  # noqa: N802
            if self.path == "/alerts":
                self.answer(200, inbox.told(), "application/json")
            else:
                self.answer(200 if self.path == "/health/ready" else 404)

    return QuietServer((HOST, port), Handler)
