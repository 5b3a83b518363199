"""The guarded HTTP client against real servers on loopback."""

import asyncio
import datetime
import gzip
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from shared.addresses import AllowedAddresses
from shared.safe_http import Answered, Fetched, Refused, SafeHttp, Unreachable

Serve = Callable[[bytes, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def answer(body: bytes, *, status: str = "200 OK", headers: str = "Content-Type: image/png\r\n") -> bytes:
    return f"HTTP/1.1 {status}\r\n{headers}Content-Length: {len(body)}\r\n\r\n".encode() + body


class Server:
    """A server on 127.0.0.1 that answers by path and counts who came."""

    def __init__(self) -> None:
        self.answers: dict[str, bytes | Serve] = {}
        self.requests: list[bytes] = []
        self.connections = 0
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                request = await reader.readuntil(b"\r\n\r\n")
                self.requests.append(request)
                found = self.answers[request.split()[1].decode()]
                if callable(found):
                    await found(request, reader, writer)
                else:
                    writer.write(found)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def running(tls: ssl.SSLContext | None = None) -> AsyncIterator[Server]:
    server = Server()
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0, ssl=tls)
    server.port = listening.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listening.close()


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with running() as found:
        yield found


@asynccontextmanager
async def client(*ports: int, names: Sequence[Sequence[str]] = (), tls: ssl.SSLContext | None = None):
    """A client that lets these loopback ports through; `names` are the resolver's answers, one per question."""
    answers = iter(names)

    async def resolve(host: str, port: int) -> Sequence[str]:
        return next(answers)

    allowed = AllowedAddresses.parse(",".join(f"127.0.0.1:{port}" for port in ports))
    http = SafeHttp(allowed, resolve=resolve if names else None, tls=tls)
    try:
        yield http
    finally:
        await http.aclose()


async def get(http: SafeHttp, url: str, *, deadline_s: float = 5.0, bytes_max: int = 1000) -> Fetched:
    return await http.get(url, deadline_s=deadline_s, bytes_max=bytes_max)


async def test_an_allowed_address_is_asked_without_proxy_cookie_or_compression(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    server.answers["/a"] = answer(b"picture", headers="Content-Type: image/png\r\nSet-Cookie: a=b\r\n")
    async with client(server.port) as http:
        for _ in range(2):
            assert await get(http, f"http://127.0.0.1:{server.port}/a") == Fetched(200, "image/png", b"picture")
    assert server.connections == 1
    assert b"Accept-Encoding: identity" in server.requests[1]
    assert b"Cookie" not in server.requests[1]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "2130706433", "0x7f.1", "[::ffff:127.0.0.1]"])
async def test_loopback_is_refused_however_it_is_spelt(host: str) -> None:
    async with client() as http:
        with pytest.raises(Refused, match="not a public address"):
            await get(http, f"http://{host}/")


async def test_another_port_of_an_allowed_address_is_refused(server: Server) -> None:
    async with running() as other, client(other.port) as http:
        with pytest.raises(Refused, match="port"):
            await get(http, f"http://127.0.0.1:{server.port}/a")
    assert server.connections == 0


@pytest.mark.parametrize(
    "url", ["ftp://example.org/", "file:///etc/passwd", "http://user:word@example.org/", "http://", "example.org/a",
            "http://example.org:22/", "http://example.org:99999/", "http://exa mple/", "http://a/" + "x" * 5000]
)  # fmt: skip
async def test_a_url_of_the_wrong_form_is_refused_before_its_name_is_looked_up(url: str) -> None:
    async with client(names=[[]]) as http:
        with pytest.raises(Refused):
            await get(http, url)


async def test_one_private_address_among_public_ones_refuses_the_name() -> None:
    async with client(names=[["8.8.8.8", "10.0.0.1"]]) as http:
        with pytest.raises(Refused, match=r"10\.0\.0\.1"):
            await get(http, "http://media.example/")


async def test_a_name_is_resolved_once_and_the_socket_goes_to_the_checked_address(server: Server) -> None:
    server.answers["/a"] = answer(b"picture")
    second_answer = ["10.0.0.1"]
    async with client(server.port, names=[["127.0.0.1"], second_answer]) as http:
        found = await get(http, f"http://media.example:{server.port}/a")
        assert found.body == b"picture"
        # Asked again on the kept connection: no new question, the address that was checked is still the one.
        assert (await get(http, f"http://media.example:{server.port}/a")).body == b"picture"
    assert server.connections == 1
    assert f"Host: media.example:{server.port}".encode() in server.requests[0]


async def test_a_name_that_turns_private_is_refused_at_the_next_connection(server: Server) -> None:
    server.answers["/a"] = answer(b"picture", headers="Connection: close\r\n")
    async with client(server.port, names=[["127.0.0.1"], ["10.0.0.1"]]) as http:
        await get(http, f"http://media.example:{server.port}/a")
        with pytest.raises(Refused):
            await get(http, f"http://media.example:{server.port}/a")


async def test_the_next_address_is_tried_when_the_first_does_not_answer(server: Server) -> None:
    server.answers["/a"] = answer(b"picture")
    http = SafeHttp(AllowedAddresses.parse(f"127.0.0.9:{server.port},127.0.0.1:{server.port}"), resolve=_both_addresses)
    try:
        assert (await get(http, f"http://media.example:{server.port}/a")).status == 200
    finally:
        await http.aclose()


async def _both_addresses(host: str, port: int) -> Sequence[str]:
    return ["127.0.0.9", "127.0.0.1"]


async def test_redirects_are_followed_by_hand_and_counted(server: Server) -> None:
    for step in range(5):
        server.answers[f"/{step}"] = answer(b"", status="302 Found", headers=f"Location: /{step + 1}\r\n")
    server.answers["/5"] = answer(b"end")
    async with client(server.port) as http:
        assert (await get(http, f"http://127.0.0.1:{server.port}/2")).body == b"end"
        with pytest.raises(Refused, match="redirects"):
            await get(http, f"http://127.0.0.1:{server.port}/1")


@pytest.mark.parametrize("location", ["http://169.254.169.254/latest", "http://127.0.0.1:22/", "file:///etc/passwd"])
async def test_a_redirect_is_checked_like_the_first_address(server: Server, location: str) -> None:
    server.answers["/a"] = answer(b"", status="307 Temporary Redirect", headers=f"Location: {location}\r\n")
    async with client(server.port) as http:
        with pytest.raises(Refused):
            await get(http, f"http://127.0.0.1:{server.port}/a")


async def test_too_large_is_refused_by_its_header_and_while_it_streams(server: Server) -> None:
    sent = 0

    async def endless(request: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            writer.write(b"400\r\n" + b"x" * 1024 + b"\r\n")
            sent += 1024
            await writer.drain()

    server.answers |= {"/long": answer(b"x" * 1001), "/endless": endless}
    async with client(server.port) as http:
        for path in ("/long", "/endless"):
            with pytest.raises(Refused, match="more than 1000"):
                await get(http, f"http://127.0.0.1:{server.port}{path}")


async def test_a_slow_drip_ends_at_the_deadline_of_the_whole(server: Server) -> None:
    async def drip(request: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n")
        while True:
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.05)

    server.answers["/drip"] = drip
    async with client(server.port) as http:
        began = asyncio.get_running_loop().time()
        with pytest.raises(Unreachable, match=r"within 0\.4 s"):
            await get(http, f"http://127.0.0.1:{server.port}/drip", deadline_s=0.4)
        assert asyncio.get_running_loop().time() - began < 1.5


async def test_a_compressed_body_is_not_decoded(server: Server) -> None:
    bomb = gzip.compress(b"\0" * 5_000_000)
    server.answers["/bomb"] = answer(bomb, headers="Content-Encoding: gzip\r\n")
    async with client(server.port) as http:
        with pytest.raises(Refused, match="gzip"):
            await get(http, f"http://127.0.0.1:{server.port}/bomb", bytes_max=100_000)


@pytest.mark.parametrize("status", ["429 Too Many Requests", "500 Oh", "503 Later"])
async def test_a_server_in_trouble_is_asked_again_later(server: Server, status: str) -> None:
    server.answers["/a"] = answer(b"", status=status)
    async with client(server.port) as http:
        with pytest.raises(Unreachable) as caught:
            await get(http, f"http://127.0.0.1:{server.port}/a")
    assert caught.value.status == int(status.split()[0])


async def test_what_is_not_there_is_told_by_its_status(server: Server) -> None:
    server.answers["/a"] = answer(b"no", status="404 Not Found")
    async with client(server.port) as http:
        assert (await get(http, f"http://127.0.0.1:{server.port}/a")).status == 404


async def test_a_closed_port_and_an_unknown_name_are_unreachable(server: Server) -> None:
    async with client(1) as http:
        with pytest.raises(Unreachable):
            await get(http, "http://127.0.0.1:1/")
    async with client() as http:
        with pytest.raises(Unreachable, match="does not resolve"):
            await get(http, "http://nobody.invalid/")


async def test_a_server_that_breaks_off_or_speaks_no_http_is_unreachable(server: Server) -> None:
    async def hang_up(request: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\nhalf")
        writer.close()

    server.answers |= {"/half": hang_up, "/odd": b"SSH-2.0-OpenSSH_9.6\r\n\r\n"}
    async with client(server.port) as http:
        for path in ("/half", "/odd"):
            with pytest.raises(Unreachable):
                await get(http, f"http://127.0.0.1:{server.port}{path}")


async def test_a_post_tells_its_status_and_does_not_follow(server: Server) -> None:
    async def drip_after_status(request: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert await reader.readexactly(4) == b"body"
        writer.write(b"HTTP/1.1 202 Accepted\r\nContent-Length: 500\r\n\r\nok")
        await writer.drain()
        await asyncio.sleep(30)

    async def elsewhere(request: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(4)
        writer.write(answer(b"x" * 100, status="308 Moved", headers="Location: /hook\r\n"))

    server.answers |= {"/hook": drip_after_status, "/moved": elsewhere}
    async with client(server.port) as http:
        base = f"http://127.0.0.1:{server.port}"
        headers = {"Content-Type": "application/json"}
        assert await http.post(f"{base}/hook", b"body", headers, deadline_s=5, answer_bytes_max=10) == Answered(
            202, b"ok"
        )
        moved = await http.post(f"{base}/moved", b"body", headers, deadline_s=5, answer_bytes_max=10)
        assert moved == Answered(308, b"x" * 10)
    assert len(server.requests) == 2


async def test_tls_checks_the_name_not_the_address(tmp_path: Path) -> None:
    serving, trusting = certificate_for("media.example", tmp_path)
    async with running(serving) as server:
        server.answers["/a"] = answer(b"picture")
        port = server.port
        async with client(port, names=[["127.0.0.1"]] * 2, tls=trusting) as http:
            assert (await get(http, f"https://media.example:{port}/a")).body == b"picture"
            with pytest.raises(Unreachable, match="CERTIFICATE_VERIFY_FAILED"):
                await get(http, f"https://other.example:{port}/a")


def certificate_for(name: str, folder: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """What a server of this name needs, and what a client that trusts it needs."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    file = folder / "server.pem"
    file.write_bytes(
        pem
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(file)
    trusting = ssl.create_default_context(cadata=pem.decode())
    return serving, trusting
