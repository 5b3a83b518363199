"""HTTP for addresses that strangers give us: pictures of posts, endpoints of agencies.

The name is resolved once, every address of the answer is checked, and the socket is connected to a checked one, so a
name that changes its mind in between (DNS rebinding) gains nothing. TLS goes on checking the certificate of the name.
A kept-alive connection is reused for its own origin only, and leads to the address that was checked for it.
"""

import asyncio
import contextlib
import re
import ssl
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from socket import IPPROTO_TCP, SOCK_STREAM, gaierror, getaddrinfo

import httpcore2
import httpx2

from shared.addresses import AllowedAddresses

__all__ = ["AllowedAddresses", "Answered", "Fetched", "Refused", "SafeHttp", "Unreachable"]

REDIRECTS_MAX = 3
URL_CHARACTERS_MAX = 4096
# One dead address of several must not eat the whole deadline.
CONNECT_ATTEMPT_S = 2.0
RESOLVER_THREADS = 8

NO_EXCEPTIONS = AllowedAddresses()

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
_HOST = re.compile(rb"[A-Za-z0-9._-]{1,253}|[0-9A-Fa-f:.]{2,45}")
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


class Refused(Exception):  # noqa: N818 - an answer of ours, not an error
    """We do not ask this, now or later: its address, scheme, port or redirects are not allowed, or it is too large."""


class Unreachable(Exception):  # noqa: N818 - the state of the other side
    """No usable answer this time: no such name, no connection, too slow, or the server says 429 or 5xx. Try later."""

    def __init__(self, reason: str, *, status: int | None = None) -> None:
        super().__init__(reason)
        self.status = status


@dataclass(frozen=True)
class Fetched:
    """The answer to a GET, after redirects; any status that is not 429 or 5xx, the body as it was sent."""

    status: int
    content_type: str
    body: bytes


@dataclass(frozen=True)
class Answered:
    """The answer to a POST: any status that is not 429 or 5xx; the body may be cut off."""

    status: int
    body: bytes


class SafeHttp:
    """A client with one pool of connections; close it with `aclose()`.

    Nothing comes from the environment (no proxy), no cookie is kept, no body is decoded.
    """

    def __init__(
        self,
        allowed: AllowedAddresses = NO_EXCEPTIONS,
        *,
        resolve: Resolve | None = None,
        tls: ssl.SSLContext | None = None,
        connections_max: int = 100,
        user_agent: str = "Twintally/1",
    ) -> None:
        self._allowed = allowed
        self._threads = ThreadPoolExecutor(RESOLVER_THREADS, thread_name_prefix="resolver")
        self._user_agent = user_agent
        self._network = _CheckedNetwork(allowed, resolve or self._resolve)
        self._pool = httpcore2.AsyncConnectionPool(
            ssl_context=tls or httpx2.create_ssl_context(trust_env=False),
            max_connections=connections_max,
            max_keepalive_connections=20,
            keepalive_expiry=15.0,
            network_backend=self._network,
        )

    async def aclose(self) -> None:
        """Close every connection."""
        await self._pool.aclose()
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def get(self, url: str, *, deadline_s: float, bytes_max: int) -> Fetched:
        """Fetch, following up to three redirects, each checked like the first; raises Refused or Unreachable.

        The deadline is for everything together: names, connections, redirects, body.
        """
        with _told_apart(deadline_s):
            async with asyncio.timeout(deadline_s):
                return await self._get(self._checked(url), bytes_max)

    async def post(
        self, url: str, body: bytes, headers: Mapping[str, str], *, deadline_s: float, answer_bytes_max: int
    ) -> Answered:
        """Send a body; raises Refused or Unreachable. Redirects are not followed: a signed body goes where it was sent.

        The deadline is for the status. Once that is known it counts: a body that is too long, or takes more than a
        second, is cut off.
        """
        target, sized = self._checked(url), {**headers, "Content-Length": str(len(body))}
        with _told_apart(deadline_s):
            async with AsyncExitStack() as stack:
                async with asyncio.timeout(deadline_s):
                    answer = await stack.enter_async_context(self._answer("POST", target, sized, body))
                return Answered(answer.status, await _beginning(answer, answer_bytes_max))

    async def check_addresses(self, url: str, *, deadline_s: float) -> None:
        """Would this URL be asked? Refused by its form, scheme, port or addresses; Unreachable when no name answers."""
        target = self._checked(url)
        with _told_apart(deadline_s):
            async with asyncio.timeout(deadline_s):
                await self._network.addresses_of(target.raw_host.decode("ascii").strip("[]"), _port_of(target))

    async def _get(self, url: httpx2.URL, bytes_max: int) -> Fetched:
        for _ in range(REDIRECTS_MAX + 1):
            async with self._answer("GET", url, {"Accept": "*/*"}) as answer:
                headers = _headers_of(answer)
                if answer.status in _REDIRECTS and headers.get("location"):
                    url = self._checked_redirect(url, headers["location"])
                    continue
                return Fetched(answer.status, headers.get("content-type", ""), await _whole(answer, headers, bytes_max))
        raise Refused(f"more than {REDIRECTS_MAX} redirects")

    @asynccontextmanager
    async def _answer(
        self, method: str, url: httpx2.URL, headers: Mapping[str, str], body: bytes | None = None
    ) -> AsyncIterator[httpcore2.Response]:
        request = httpcore2.Request(
            method,
            httpcore2.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
            headers=[
                (b"Host", url.netloc),
                (b"User-Agent", self._user_agent.encode()),
                (b"Accept-Encoding", b"identity"),
                *((name.encode("ascii"), value.encode("ascii")) for name, value in headers.items()),
            ],
            content=body,
        )
        answer = await self._pool.handle_async_request(request)
        try:
            if answer.status == 429 or answer.status >= 500:
                raise Unreachable(f"the server answered {answer.status}", status=answer.status)
            yield answer
        finally:
            await answer.aclose()

    def _checked(self, text: str) -> httpx2.URL:
        if len(text) > URL_CHARACTERS_MAX:
            raise Refused(f"the URL is longer than {URL_CHARACTERS_MAX} characters")
        try:
            url = httpx2.URL(text)
        except (httpx2.InvalidURL, ValueError) as error:
            raise Refused(f"not a URL: {error}") from error
        if url.scheme not in ("http", "https") or not _HOST.fullmatch(url.raw_host):
            raise Refused("only http:// and https:// URLs with the name or address of a host are asked")
        if url.userinfo:
            raise Refused("a URL must not carry a user name or a password")
        if not self._allowed.lets_port(_port_of(url)):
            raise Refused(f"port {_port_of(url)} is not asked, only 80 and 443")
        return url

    def _checked_redirect(self, url: httpx2.URL, location: str) -> httpx2.URL:
        try:
            return self._checked(str(url.join(location)))
        except (httpx2.InvalidURL, ValueError) as error:
            raise Refused(f"redirected to what is not a URL: {error}") from error

    async def _resolve(self, host: str, port: int) -> Sequence[str]:
        # A thread pool of its own: slow names of strangers must not starve the rest of the process.
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(
            self._threads, lambda: getaddrinfo(host, port, type=SOCK_STREAM, proto=IPPROTO_TCP)
        )
        return [str(address[0]) for *_, address in found]


class _CheckedNetwork(httpcore2.AsyncNetworkBackend):
    """Connects to checked addresses only."""

    def __init__(self, allowed: AllowedAddresses, resolve: Resolve) -> None:
        self._allowed = allowed
        self._resolve = resolve
        self._sockets = httpcore2.AnyIOBackend()

    async def addresses_of(self, host: str, port: int) -> Sequence[str]:
        """The addresses of a name, all of them allowed; Refused when one is not, Unreachable when there is none."""
        try:
            addresses = list(dict.fromkeys(await self._resolve(host, port)))
        except (gaierror, UnicodeError) as error:
            raise Unreachable(f"{host}: the name does not resolve ({error})") from error
        if not addresses:
            raise Unreachable(f"{host}: the name has no address")
        for address in addresses:
            if not self._allowed.lets(address, port):
                raise Refused(f"{host} leads to {address} port {port}, which is not a public address")
        return addresses

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """Resolve once, check all, connect to the first that answers."""
        *others, last = await self.addresses_of(host, port)
        for address in others:
            with contextlib.suppress(httpcore2.ConnectError, httpcore2.ConnectTimeout):
                return await self._sockets.connect_tcp(address, port, CONNECT_ATTEMPT_S, local_address, socket_options)
        return await self._sockets.connect_tcp(last, port, timeout, local_address, socket_options)


async def _whole(answer: httpcore2.Response, headers: Mapping[str, str], bytes_max: int) -> bytes:
    if headers.get("content-encoding", "identity").lower() not in ("", "identity"):
        raise Refused(
            f"the body came as {headers['content-encoding'][:40]!r}; we asked for identity and decode nothing"
        )
    length = headers.get("content-length", "0")
    if length.isdigit() and int(length) > bytes_max:
        raise Refused(f"the body has {length} bytes, more than {bytes_max}")
    taken = bytearray()
    async for chunk in _chunks(answer):
        taken += chunk
        if len(taken) > bytes_max:
            raise Refused(f"the body has more than {bytes_max} bytes")
    return bytes(taken)


async def _beginning(answer: httpcore2.Response, bytes_max: int) -> bytes:
    taken = bytearray()
    with contextlib.suppress(httpcore2.NetworkError, httpcore2.ProtocolError, TimeoutError):
        async with asyncio.timeout(1.0):
            async for chunk in _chunks(answer):
                taken += chunk
                if len(taken) >= bytes_max:
                    break
    return bytes(taken[:bytes_max])


def _chunks(answer: httpcore2.Response) -> AsyncIterable[bytes]:
    stream = answer.stream
    assert isinstance(stream, AsyncIterable)  # noqa: S101 - an async pool gives async streams
    return stream


@contextlib.contextmanager
def _told_apart(deadline_s: float) -> Iterator[None]:
    try:
        yield
    except TimeoutError as error:
        raise Unreachable(f"no answer within {deadline_s:g} s") from error
    except httpcore2.LocalProtocolError as error:
        raise Refused(f"not a request that HTTP allows: {error}") from error
    except (httpcore2.TimeoutException, httpcore2.NetworkError, httpcore2.ProtocolError, OSError) as error:
        raise Unreachable(f"{type(error).__name__}: {error}") from error


def _headers_of(answer: httpcore2.Response) -> dict[str, str]:
    return {name.decode("latin-1").lower(): value.decode("latin-1").strip() for name, value in answer.headers}


def _port_of(url: httpx2.URL) -> int:
    return url.port or (443 if url.scheme == "https" else 80)
