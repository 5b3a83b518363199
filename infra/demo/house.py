"""The house as the demo talks to it: its public REST APIs, signed webhooks, and the pages that every service has."""

import json
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import httpx2
from standardwebhooks import Webhook

# A new API key reaches the other services through a topic.
KEY_TRAVELS_S = 15.0
PAGE = 200
PAUSE_S = 0.15
RETRIED = (429, 503)
_ID = re.compile(r"[a-z]+_[0-9a-f]{32}")


class DemoError(Exception):
    """The demo cannot go on."""


@dataclass
class House:
    """Addresses of the services, and the ids that the registry gave to the names of the demo."""

    urls: Mapping[str, str]
    operator_key: str
    control_url: str
    receiver_url: str
    keys: dict[str, str] = field(default_factory=dict)
    ids: dict[str, str] = field(default_factory=dict)
    secrets: dict[str, str] = field(default_factory=dict)
    _names: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.http = httpx2.Client(timeout=30, limits=httpx2.Limits(max_connections=16))

    def close(self) -> None:
        """Close the connections."""
        self.http.close()

    def learn(self, name: str, thing_id: str) -> None:
        """Remember the id of a thing, by its kind and name: `twin:t01`."""
        self.ids[name] = thing_id
        self._names[thing_id] = name.partition(":")[2]

    def name_of(self, thing_id: str) -> str:
        """The demo's name of an id of the registry, for a twin t01; else the id itself."""
        return self._names.get(thing_id, thing_id)

    def readable(self, text: str) -> str:
        """A text with the demo's names in place of ids."""
        return _ID.sub(lambda found: self.name_of(found.group()), text)

    def call(self, service: str, method: str, path: str, *, key: str | None = None, **request: Any) -> Any:
        """One REST call; its JSON. DemoError says what was refused and why."""
        answer = self.ask(service, method, path, key=key, **request)
        if not answer.is_success:
            raise DemoError(f"{service} refused {method} {path}: {answer.status_code} {answer.text[:400]}")
        return answer.json() if answer.content else None

    def ask(self, service: str, method: str, path: str, *, key: str | None = None, **request: Any) -> httpx2.Response:
        """One REST call with an API key (the operator's by default); a key that has not arrived yet is tried again."""
        headers = {"Authorization": f"Bearer {key or self.operator_key}", **request.pop("headers", {})}
        deadline = time.monotonic() + KEY_TRAVELS_S
        while True:
            answer = self.http.request(method, self.urls[service] + path, headers=headers, **request)
            if answer.status_code not in (401, *RETRIED) or time.monotonic() > deadline:
                return answer
            time.sleep(PAUSE_S)

    def make(self, path: str, name: str, **request: Any) -> Any:
        """Create something in the registry, once, however often it is sent."""
        return self.call("registry", "POST", path, headers={"Idempotency-Key": f"demo-{name}"}, **request)

    def pages(self, service: str, path: str, *, key: str | None = None, rows: str | None = None) -> Iterator[Any]:
        """Every row of a listing; `rows` names them where they stand inside an object."""
        after: str | None = None
        while True:
            query = {"limit": str(PAGE), **({"after": after} if after else {})}
            found = self.call(service, "GET", path, key=key, params=query)
            page = found[rows] if rows else found
            yield from page
            if len(page) < PAGE:
                return
            after = page[-1]["use_id"]

    def send(self, platform: str, value: object) -> list[dict[str, Any]]:
        """One webhook, signed by the platform, again while intake is busy; the result of each of its items."""
        deadline = time.monotonic() + KEY_TRAVELS_S
        while (answer := self.post(platform, value)).status_code in RETRIED and time.monotonic() <= deadline:
            time.sleep(PAUSE_S)
        if answer.status_code != 202:
            raise DemoError(f"intake refused a webhook of {platform}: {answer.status_code} {answer.text[:400]}")
        results: list[dict[str, Any]] = answer.json()["results"]
        return results

    def post(self, platform: str, value: object) -> httpx2.Response:
        """One webhook, signed by the platform and sent once; whatever intake answers."""
        body, now, message = json.dumps(value), datetime.now(UTC), f"msg_{uuid4().hex}"
        headers = {
            "content-type": "application/json",
            "webhook-id": message,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": Webhook(self.secrets[platform]).sign(message, now, body),
        }
        url = f"{self.urls['intake']}/v1/platforms/{platform}/webhooks"
        return self.http.post(url, content=body, headers=headers)

    def metric(self, service: str, name: str) -> dict[str, float]:
        """The values of a metric by their labels, as the service's page spells them."""
        text = self.http.get(f"{self.urls[service]}/metrics").text
        lines = [line for line in text.splitlines() if line.partition("{")[0].partition(" ")[0] == name]
        return {line[len(name) :].rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines}


def wait_for(what: Callable[[], bool], *, within_s: float, otherwise: Callable[[], str], pause_s: float = 0.5) -> None:
    """Wait until it holds; DemoError with `otherwise` when it does not within the time."""
    deadline = time.monotonic() + within_s
    while not what():
        if time.monotonic() > deadline:
            raise DemoError(otherwise())
        time.sleep(pause_s)
