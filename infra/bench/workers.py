"""The phase with one, two and more matching processes: does an event cost more when they share the work?"""

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

from infra.bench.playing import Failed, flood, within_s
from infra.bench.posts import plan, told_of
from infra.bench.proc import spent
from infra.bench.rehearsal import Pools
from infra.bench.stage import INDEX_S, Bench, extra
from infra.local.faults import StackError
from infra.local.stack import Stack

JOIN_S = 60.0
WARM_POSTS = 48
FACTS = "twintally_matching_facts_total"


def cost_by_workers(bench: Bench, pools: Pools) -> dict[str, Any]:
    """Processor seconds of matching per post of a backlog, by how many processes work it; the same posts each time."""
    costs: dict[str, float] = {}
    rates: dict[str, float] = {}
    try:
        for count in bench.sizes.workers:
            costs[str(count)], rates[str(count)] = _with(bench, pools, count)
    finally:
        for number in range(2, max(bench.sizes.workers) + 1):
            bench.stack.stop(extra(number))
    first = costs[str(bench.sizes.workers[0])]
    return {
        "cpu_per_event": {count: round(cost, 5) for count, cost in costs.items()},
        "cpu_per_event_ratio": {count: round(cost / first, 4) for count, cost in costs.items()},
        "posts_per_s_by_workers": rates,
    }


def _with(bench: Bench, pools: Pools, count: int) -> tuple[float, float]:
    names = ("matching", *(extra(number) for number in range(2, count + 1)))
    with bench.steps.step(f"workers: {count} matching process{'es' if count > 1 else ''}, joining"):
        with ThreadPoolExecutor(len(names)) as at_once:
            list(at_once.map(lambda name: _start(bench.stack, name), names))
        _until_all_work(bench, pools, names)
    posts = plan(f"workers-{count}", bench.sizes.worker_posts, pools.big, bench.sizes.twin_share)
    leaders = bench.leaders(names)
    before, began = spent(leaders), time.monotonic()
    with bench.steps.step(f"workers: a backlog of {len(posts)} posts for {count}") as step:
        flood(bench, told_of(posts, bench.outside_url))
        took_s = bench.lookout.until_done(within_s(len(posts)), step) - began
    used = before.until(spent(leaders))
    if len(used) != count:
        raise Failed(f"a matching process was started anew meanwhile; only {', '.join(used)} went on")
    return sum(used.values()) / len(posts), round(len(posts) / took_s, 2)


def _start(stack: Stack, name: str) -> None:
    # A stack waits for two minutes; with thousands of references an index takes longer.
    with suppress(StackError):
        stack.start(name)
    stack.wait_ready(name, INDEX_S)


def _until_all_work(bench: Bench, pools: Pools, names: tuple[str, ...]) -> None:
    """Each has its share of the partitions when each has worked something."""
    before, deadline, turn = {name: _worked(bench, name) for name in names}, time.monotonic() + JOIN_S, 0
    while idle := [name for name in names if _worked(bench, name) == before[name]]:
        if time.monotonic() > deadline:
            raise Failed(f"these got nothing to work within {JOIN_S:g} s: {', '.join(idle)}")
        turn += 1
        posts = plan(f"warm-{len(names)}-{turn}", WARM_POSTS, pools.small, bench.sizes.twin_share)
        flood(bench, told_of(posts, bench.outside_url))
        bench.lookout.until_done(within_s(len(posts)))


def _worked(bench: Bench, name: str) -> float:
    return sum(bench.house.metric(name, FACTS).values())
