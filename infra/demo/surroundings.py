"""What surrounds the house in the demo, as one process of its stack: image host, stalling host, webhook receiver.

`python -m infra.demo.surroundings --pictures DIR --images PORT --stalling PORT --receiver PORT`
"""

import argparse
import os
import signal
import threading
from pathlib import Path

from infra.demo.host import image_host
from infra.demo.receiver import Inbox, control, receiver


def main() -> None:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--pictures", type=Path, required=True)
    for name in ("images", "stalling", "receiver"):
        parser.add_argument(f"--{name}", type=int, required=True)
    asked = parser.parse_args()
    inbox = Inbox()
    stopped = threading.Event()
    signal.signal(signal.SIGTERM, lambda _number, _frame: stopped.set())
    signal.signal(signal.SIGINT, lambda _number, _frame: stopped.set())
    servers = (
        image_host(asked.pictures, asked.images, stalls=False),
        image_host(asked.pictures, asked.stalling, stalls=True),
        receiver(inbox, asked.receiver),
        control(inbox, int(os.environ["TWINTALLY_HTTP_PORT"])),
    )
    for server in servers:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    stopped.wait()


if __name__ == "__main__":
    main()
