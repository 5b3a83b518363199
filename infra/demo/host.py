"""The platforms' image host: serves published pictures from a folder; a second address of it stalls."""

import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

HOST = "127.0.0.1"
# Longer than matching waits for an image in the stream, and for one that never comes than it waits at all.
STALL_ONCE_S, STALL_S = 3.0, 30.0


class QuietHandler(BaseHTTPRequestHandler):
    """Answers and writes no log."""

    def answer(self, status: int, body: bytes = b"", kind: str = "text/plain") -> None:
        """One whole answer."""
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def body(self) -> bytes:
        """The body of the request; ConnectionError when its sender was gone before its end."""
        length = int(self.headers.get("content-length", "0"))
        body = self.rfile.read(length)
        if len(body) < length:
            raise ConnectionResetError(f"{len(body)} of {length} bytes came")
        return body

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""


class QuietServer(ThreadingHTTPServer):
    """A server on a loopback port, each request in a thread that ends with the process."""

    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that gave up is no news."""


def image_host(pictures: Path, port: int, *, stalls: bool) -> QuietServer:
    """Serves `/NAME` from the folder; a stalling one keeps `/once/NAME` waiting once, and `/never/NAME` for ever."""
    seen: set[str] = set()
    lock = threading.Lock()

    class Handler(QuietHandler):
        def do_GET(self) -> None:
            *where, name = self.path.strip("/").split("/")
            if stalls:
                with lock:
                    again = name in seen
                    seen.add(name)
                time.sleep(STALL_S if where == ["never"] else 0.0 if again else STALL_ONCE_S)
            file = pictures / Path(name).name
            if file.is_file():
                self.answer(200, file.read_bytes(), "image/jpeg")
            else:
                self.answer(404)

    return QuietServer((HOST, port), Handler)
