"""Free ports on the loopback interface."""

from __future__ import annotations

import random
import socket

HOST = "127.0.0.1"
# Below the kernel's range for outgoing connections: there, a client that keeps trying the port of a stopped broker
# could be given that very port for its own end, connect to itself and keep the broker from coming back.
FIRST_PORT, LAST_PORT = 15_000, 30_000
TRIES = 200


def is_free(port: int) -> bool:
    """Whether a server could listen on this port now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # A server may listen again while old connections of its port time out; so may this probe.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def choose_ports(names: tuple[str, ...], before: dict[str, int]) -> dict[str, int]:
    """A free port for each name: the one it had before when that is free, so that addresses outlive a restart."""
    chosen: dict[str, int] = {}
    for name in names:
        wish = before.get(name)
        if wish is not None and wish not in chosen.values() and is_free(wish):
            chosen[name] = wish
        else:
            chosen[name] = _any_free({*chosen.values(), *before.values()})
    return chosen


def _any_free(taken: set[int]) -> int:
    for _ in range(TRIES):
        port = random.randint(FIRST_PORT, LAST_PORT)  # noqa: S311
        if port not in taken and is_free(port):
            return port
    raise OSError(f"no free port found between {FIRST_PORT} and {LAST_PORT}")


def answers(host: str, port: int, request: bytes, timeout_s: float = 1.0) -> bytes:
    """Send `request` and return the first bytes of the answer; empty when nobody answers."""
    try:
        with socket.create_connection((host, port), timeout=timeout_s) as connection:
            connection.settimeout(timeout_s)
            connection.sendall(request)
            return connection.recv(256)
    except OSError:
        return b""
