"""What surrounds the house in a test: a host of images, receivers of alerts and spans, callers of the REST APIs."""

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self, TypeVar

import httpx2
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from standardwebhooks import Webhook, WebhookVerificationError

from infra.local.stack import Stack

WAIT_S = 40.0
T = TypeVar("T")


class _Server:
    """A small HTTP server on a free loopback port, in a thread."""

    def __init__(self, handler: type[BaseHTTPRequestHandler]) -> None:
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.address = f"127.0.0.1:{self.server.server_address[1]}"

    @classmethod
    @contextmanager
    def serving(cls) -> Iterator[Self]:
        host = cls()  # type: ignore[call-arg]
        thread = threading.Thread(target=host.server.serve_forever, daemon=True)
        thread.start()
        try:
            yield host
        finally:
            host.server.shutdown()
            host.server.server_close()
            thread.join(timeout=5)


class ImageHost(_Server):
    """Serves images by name; a name that it does not know is 404."""

    def __init__(self) -> None:
        images: dict[str, bytes] = {}

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                image = images.get(self.path.strip("/"))
                self.send_response(200 if image is not None else 404)
                self.send_header("content-type", "image/jpeg")
                self.send_header("content-length", str(len(image or b"")))
                self.end_headers()
                self.wfile.write(image or b"")

            def log_message(self, format: str, *args: Any) -> None:
                pass

        super().__init__(Handler)
        self.images = images

    def show(self, name: str, image: bytes) -> str:
        self.images[name] = image
        return f"http://{self.address}/{name}"


class Receiver(_Server):
    """An agency's endpoint: keeps every alert with its headers."""

    def __init__(self) -> None:
        got: list[tuple[dict[str, str], bytes]] = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", "0")))
                got.append(({name.lower(): value for name, value in self.headers.items()}, body))
                self.send_response(204)
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                pass

        super().__init__(Handler)
        self.got = got

    def alerts(self, secret: str) -> list[dict[str, Any]]:
        """The alerts so far whose signature verifies with this secret; others are another agency's."""
        own = []
        for headers, body in tuple(self.got):
            with contextlib.suppress(WebhookVerificationError):
                own.append(Webhook(secret).verify(body, headers))
        return own


@dataclass(frozen=True)
class Told:
    """A span as it was exported."""

    service: str
    name: str
    trace_id: str
    span_id: str
    parent_id: str
    attributes: dict[str, Any]


class Collector(_Server):
    """Takes spans by OTLP over HTTP and keeps them."""

    def __init__(self) -> None:
        spans: list[Told] = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", "0")))
                known = self.path == "/v1/traces"
                if known:
                    spans.extend(_spans_in(body))
                self.send_response(200 if known else 404)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                pass

        super().__init__(Handler)
        self.spans = spans

    def named(self, name: str, **attributes: Any) -> list[Told]:
        """The spans with this name and these attributes, in which a dot is written as two underscores."""
        wanted = {key.replace("__", "."): value for key, value in attributes.items()}.items()
        return [span for span in tuple(self.spans) if span.name == name and wanted <= span.attributes.items()]


@dataclass
class World:
    """The running house and its surroundings."""

    stack: Stack
    images: ImageHost
    receiver: Receiver
    collector: Collector
    operator_key: str
    clients: dict[str, httpx2.Client] = field(default_factory=dict)

    def call(self, service: str, method: str, path: str, *, key: str | None = None, **request: Any) -> Any:
        """One REST call as the operator or with another key; the answer's JSON, or an AssertionError with its text."""
        client = self.clients.setdefault(service, httpx2.Client(base_url=self.stack.url(service), timeout=20))
        headers = {"Authorization": f"Bearer {key or self.operator_key}", **request.pop("headers", {})}
        answer = client.request(method, path, headers=headers, **request)
        assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content else None

    def send(self, platform: str, secret: str, value: object) -> httpx2.Response:
        """One signed webhook."""
        body, now = json.dumps(value), datetime.now(UTC)
        headers = {
            "webhook-id": "msg",
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": Webhook(secret).sign("msg", now, body),
        }
        client = self.clients.setdefault("intake", httpx2.Client(base_url=self.stack.url("intake"), timeout=20))
        return client.post(f"/v1/platforms/{platform}/webhooks", content=body, headers=headers)


def eventually(what: Callable[[], T], *, wait_s: float = WAIT_S) -> T:
    """The first truthy answer within the time; AssertionError with the last one otherwise."""
    deadline = time.monotonic() + wait_s
    while not (found := what()):
        assert time.monotonic() < deadline, f"still {found!r} after {wait_s:g} s"
        time.sleep(0.2)
    return found


def _spans_in(body: bytes) -> Iterator[Told]:
    for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
        service = _plain(resource.resource.attributes)["service.name"]
        for scope in resource.scope_spans:
            for span in scope.spans:
                ids = (span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex())
                yield Told(service, span.name, *ids, _plain(span.attributes))


def _plain(attributes: Any) -> dict[str, Any]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in attributes}
