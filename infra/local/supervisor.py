"""The process behind `twintally stack up`: runs one stack until it is told to stop.

`python -m infra.local.supervisor --dir DIR` reads what to run from DIR/plan.json and tells in DIR/stack.json how
it goes.
"""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from pathlib import Path
from types import FrameType

from infra.local.faults import StackError
from infra.local.settings import StackSettings
from infra.local.stack import Stack

PLAN = "plan.json"


def run(directory: Path) -> int:
    """Run the stack planned in `directory` until SIGTERM or SIGINT; the exit code."""
    stack = Stack(StackSettings.load(directory / PLAN))
    stopped = threading.Event()

    def stop(_number: int, _frame: FrameType | None) -> None:
        stopped.set()
        stack.cancel()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    # The terminal that started it may go; the stack stays.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        stack.up()
    except StackError as fault:
        print(fault, file=sys.stderr)
        return 1
    stopped.wait()
    stack.down()
    return 0


def main() -> None:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(description="runs one local stack; started by `twintally stack up`")
    parser.add_argument("--dir", type=Path, required=True, help="the stack's directory")
    sys.exit(run(parser.parse_args().dir))


if __name__ == "__main__":
    main()
