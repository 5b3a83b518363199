"""Asks services over REST with an operator's API key."""

from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

import httpx2
from pydantic import SecretStr

TIMEOUT_S = 20.0
# FastAPI's own answer where our services name what they do not have: an older version, or another service.
NO_SUCH_ROUTE = "Not Found"


class Away(Exception):  # noqa: N818 - an outcome that the operator is told
    """A service that did not tell; the text says why, and what to do."""


class Asker:
    """The services by name, within a `with`; `livemode` is that of the key, once a service has told."""

    def __init__(self, addresses: Mapping[str, str], api_key: SecretStr) -> None:
        headers = {"Authorization": f"Bearer {api_key.get_secret_value()}"}
        self._addresses = addresses
        self._client = httpx2.Client(headers=headers, timeout=TIMEOUT_S)
        self.livemode: bool | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._client.close()

    def get(self, service: str, path: str, **query: str) -> Any:
        """What a service answers, or None for 404; Away when it does not."""
        url = self._addresses.get(service)
        if url is None:
            raise Away(
                f"nobody says where {service} is; set TWINTALLY_URL_{service.upper()}, or use --at {service}=URL"
            )
        try:
            answer = self._client.get(f"{url}{path}", params=query)
        except httpx2.HTTPError as error:
            told = f"{type(error).__name__} {error}".strip()
            raise Away(f"{service} does not answer at {url}: {told}; is it running? `twintally status`") from error
        if (mode := answer.headers.get("twintally-livemode")) is not None:
            self.livemode = mode == "true"
        if answer.status_code in (401, 403):
            raise Away(f"{service} does not take this API key for an operator's: {_detail(answer)}")
        if answer.status_code == 404 and _detail(answer) != NO_SUCH_ROUTE:
            return None
        if answer.status_code != 200:
            raise Away(f"{service} refused ({answer.status_code}): {_detail(answer)}")
        return _json(service, url, answer)


def _json(service: str, url: str, answer: httpx2.Response) -> Any:
    try:
        return answer.json()
    except ValueError as error:
        raise Away(f"{service}: what answers at {url} is another service; it sent no JSON") from error


def _detail(answer: httpx2.Response) -> str:
    try:
        return str(answer.json()["detail"])
    except (ValueError, KeyError, TypeError):
        return answer.text[:300]
