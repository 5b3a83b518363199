"""What the phases have in common: sending, and waiting until what was sent is worked."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict

from infra.bench.client import Job, Sent
from infra.bench.posts import Told
from infra.bench.stage import Bench
from infra.local.assembly import importable_env

STOP_S = 10.0
LOOK_PAUSE_S = 2.0
# Far above what a post costs on any machine: only a house that stands still takes longer.
POST_S_MAX, LEAST_S = 0.5, 120.0
FLOOD_BATCH, FLOOD_CONNECTIONS = 50, 4


class Failed(Exception):  # noqa: N818 - the state of a phase
    """A phase has nothing to report."""


def within_s(posts: int) -> float:
    """How long so many posts may take to be worked."""
    return LEAST_S + POST_S_MAX * posts


@contextmanager
def client(job: Job) -> Iterator[subprocess.Popen[str]]:
    """The client process at work on a job; stopped in any case."""
    process = subprocess.Popen(
        (sys.executable, "-m", "infra.bench.client"),
        env=importable_env(os.environ),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        # Ctrl-C in the terminal reaches only the one who then stops all in order.
        start_new_session=True,
    )
    try:
        if process.stdin is None:
            raise Failed("the client takes no job")
        process.stdin.write(json.dumps(asdict(job)))
        process.stdin.close()
        # Closed here: `communicate` would close it again.
        process.stdin = None
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(STOP_S)


def outcome(process: subprocess.Popen[str], timeout_s: float, meanwhile: Callable[[], None] | None = None) -> Sent:
    """What came of the client's job; `meanwhile` is called again and again until it has ended."""
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            told, _ = process.communicate(timeout=LOOK_PAUSE_S)
            break
        except subprocess.TimeoutExpired:
            if time.monotonic() > deadline:
                raise Failed(f"the client was not done within {timeout_s:.0f} s") from None
            if meanwhile is not None:
                meanwhile()
    if process.returncode != 0:
        raise Failed(f"the client ended with {process.returncode}")
    return Sent(**json.loads(told))


def send(job: Job, timeout_s: float) -> Sent:
    """Send all of it and wait for the answers."""
    with client(job) as process:
        return outcome(process, timeout_s)


def flood(bench: Bench, facts: Sequence[Told]) -> Sent:
    """Put facts in as fast as intake takes batches of them; Failed unless each was accepted."""
    job = Job(
        door=bench.door,
        secret=bench.secret,
        posts=[(fact.post_id, fact.url) for fact in facts],
        batch=FLOOD_BATCH,
        connections=FLOOD_CONNECTIONS,
    )
    sent = send(job, within_s(len(facts)))
    if sent.accepted != len(facts):
        raise Failed(f"intake accepted {sent.accepted} of {len(facts)} facts: {sent.statuses} {sent.outcomes}")
    return sent
