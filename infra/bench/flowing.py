"""The phases with posts of one large picture each: the idle house, a steady stream, a backlog."""

import time
from dataclasses import asdict
from typing import Any

from infra.bench.backlog import Backlog, NotDone
from infra.bench.client import Job, Sent
from infra.bench.playing import Failed, client, flood, outcome, within_s
from infra.bench.posts import Post, ids_of, plan, told_of
from infra.bench.proc import held_mb, spent
from infra.bench.rehearsal import Pools
from infra.bench.samples import Latencies, is_flat, latencies, per_thousand
from infra.bench.stage import Bench

IDLE_S = 10.0
CLOCK_STEP_S_MAX = 0.05


def idle(bench: Bench) -> dict[str, Any]:
    """What the house holds and spends while nobody asks anything of it."""
    with bench.steps.step("looking at the idle house"):
        bench.lookout.until_done(within_s(0))
        leaders = bench.leaders()
        before = spent(leaders)
        time.sleep(IDLE_S)
        used = before.until(spent(leaders))
        held = held_mb(leaders, "Pss")
    return {
        "idle_rss_mb": round(sum(held.values()), 1),
        "idle_rss_mb_by_service": held,
        "idle_cores": {name: round(seconds / IDLE_S, 4) for name, seconds in used.items()},
    }


def steady(bench: Bench, pools: Pools) -> dict[str, Any]:
    """Posts at a fixed rate, one webhook each, for minutes."""
    sizes = bench.sizes
    posts = plan("steady", sizes.steady_posts, pools.big, sizes.twin_share)
    job = Job(
        door=bench.door,
        secret=bench.secret,
        posts=[(told.post_id, told.url) for told in told_of(posts, bench.outside_url)],
        per_s=sizes.per_s,
        keep_times=True,
    )
    leaders = bench.leaders()
    before, began, samples = spent(leaders), time.monotonic(), list[tuple[float, Backlog]]()
    with bench.steps.step(f"steady: {sizes.per_s:g} posts/s for {sizes.seconds:g} s") as step, client(job) as process:

        def look() -> None:
            samples.append((time.monotonic() - began, bench.lookout.look()))
            step(int(samples[-1][0]), int(sizes.seconds))

        sent = outcome(process, sizes.seconds * 2 + 60, look)
        end = bench.lookout.look()
    left = None
    with bench.steps.step("steady: what still waits") as step:
        try:
            bench.lookout.until_done(within_s(len(posts)), step)
        except NotDone as fault:
            left = str(fault)
    used = before.until(spent(leaders))
    if abs(sent.clock_step_s) > CLOCK_STEP_S_MAX:
        raise Failed(f"the clock jumped by {sent.clock_step_s:.3f} s: no time of this run means anything")
    return {
        **_times(bench, posts, sent),
        "backlog_end": end.total,
        "backlog_flat": is_flat(
            [(at, found.total) for at, found in samples], length_s=sizes.seconds, per_s=sizes.per_s
        ),
        "backlog_samples": [(round(at, 1), dict(found.waiting)) for at, found in samples],
        "steady_left": left,
        "dead_letters": end.dead_letters,
        "cpu_s_per_1000_posts": per_thousand(used, len(posts)),
        "steady_client": _of_client(sent),
    }


def saturate(bench: Bench, pools: Pools) -> dict[str, Any]:
    """A backlog of the same kind of posts, put in at once: how long until all of it is worked."""
    count = bench.sizes.saturate_posts
    posts = plan("saturate", count, pools.big, bench.sizes.twin_share)
    leaders = bench.leaders()
    before = spent(leaders)
    began = time.monotonic()
    with bench.steps.step(f"saturate: a backlog of {count} posts") as step:
        sent = flood(bench, told_of(posts, bench.outside_url))
        # The client's clock at its first 202, as a moment of this process.
        began = time.monotonic() - (time.time() - sent.first_at)
        took_s = bench.lookout.until_done(within_s(count), step) - began
    used = before.until(spent(leaders))
    return {
        "posts_per_s": round(count / took_s, 2),
        "cpu_s_per_1000_posts_saturated": per_thousand(used, count),
        "saturate_missing": _missing(bench, posts),
    }


def _times(bench: Bench, posts: list[Post], sent: Sent) -> dict[str, Any]:
    booked = latencies(sent.accepted_at, bench.lookout.booked_at("steady-"), ids_of(posts, "licensed"))
    alerted = latencies(sent.accepted_at, bench.received_at("steady-"), ids_of(posts, "accused"))
    return {**_named("ledger", booked), **_named("alert", alerted)}


def _named(kind: str, found: Latencies) -> dict[str, Any]:
    told = {name: round(value, 4) if isinstance(value, float) else value for name, value in asdict(found).items()}
    return {f"{kind}_{name}": value for name, value in told.items()}


def _missing(bench: Bench, posts: list[Post]) -> int:
    """How many posts have not ended as they must."""
    booked, alerted = bench.lookout.booked_at("saturate-"), bench.received_at("saturate-")
    wanted = (
        *((each, booked) for each in ids_of(posts, "licensed")),
        *((each, alerted) for each in ids_of(posts, "accused")),
    )
    return sum(post_id not in found for post_id, found in wanted)


def _of_client(sent: Sent) -> dict[str, Any]:
    told = asdict(sent)
    del told["accepted_at"], told["first_at"]
    return told
