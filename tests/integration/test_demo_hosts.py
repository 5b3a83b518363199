"""The demo's own servers on real sockets."""

import socket
import threading
from collections.abc import Iterator

import pytest

from infra.demo.receiver import Inbox, receiver


@pytest.fixture
def address() -> Iterator[tuple[Inbox, tuple[str, int]]]:
    inbox = Inbox(secrets={"aurora": "whsec_AAAA"})
    server = receiver(inbox, 0)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield inbox, (str(server.server_address[0]), int(server.server_address[1]))
    server.shutdown()
    thread.join()
    server.server_close()


def post(address: tuple[str, int], body: bytes, *, claims: int) -> bytes:
    """Send a request and no more; what was answered."""
    with socket.create_connection(address, timeout=5) as connection:
        connection.sendall(f"POST /aurora HTTP/1.1\r\ncontent-length: {claims}\r\n\r\n".encode() + body)
        connection.shutdown(socket.SHUT_WR)
        return connection.recv(1000)


def test_an_alert_whose_sender_was_killed_before_its_end_has_not_come(address: tuple[Inbox, tuple[str, int]]) -> None:
    inbox, where = address
    assert post(where, b'{"type": "infri', claims=200) == b""
    assert inbox.refused == 0
    assert b" 401 " in post(where, b"{}", claims=2)
    assert inbox.refused == 1
