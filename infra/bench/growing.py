"""The phase of many cheap facts: does any process hold more after twice as many?"""

import time
from collections.abc import Sequence
from typing import Any

from infra.bench.playing import flood, within_s
from infra.bench.posts import Told, plan, told_of, with_readings
from infra.bench.proc import held_mb
from infra.bench.rehearsal import Pools
from infra.bench.samples import growth
from infra.bench.stage import Bench

# So many facts go in at once, and the next ones when no more than this waits: a flow, not one long backlog.
SLICE, WAITING_MAX = 2_500, 500
SETTLE_S = 5.0
LOOK_PAUSE_S = 1.0


def grow(bench: Bench, pools: Pools) -> dict[str, Any]:
    """Posts with one of a few small pictures, and readings of them between; the memory at half and at the end."""
    count = bench.sizes.growth_posts
    posts = plan("growth", max(1, round(count * bench.sizes.growth_image_share)), pools.small, 0.5)
    facts = with_readings(told_of(posts, bench.outside_url), count)
    half, began = count // 2, time.monotonic()
    leaders = bench.leaders()
    held_half = _after(bench, facts[:half], leaders, "the first half")
    held_end = _after(bench, facts[half:], leaders, "the second half")
    now = bench.leaders()
    return {
        "rss_growth": growth(held_half, held_end),
        "rss_mb_at_half": held_half,
        "rss_mb_at_end": held_end,
        "growth_facts_per_s": round(count / (time.monotonic() - began), 1),
        "started_anew": sorted(name for name, pid in leaders.items() if now.get(name) != pid),
    }


def _after(bench: Bench, facts: Sequence[Told], leaders: dict[str, int], part: str) -> dict[str, float]:
    with bench.steps.step(f"growth: {part}, {len(facts)} facts") as step:
        for start in range(0, len(facts), SLICE):
            flood(bench, facts[start : start + SLICE])
            _until_few_wait(bench)
            step(min(start + SLICE, len(facts)), len(facts))
        bench.lookout.until_done(within_s(SLICE))
        time.sleep(SETTLE_S)
        return held_mb(leaders, "Rss")


def _until_few_wait(bench: Bench) -> None:
    deadline = time.monotonic() + within_s(SLICE)
    while bench.lookout.look().total > WAITING_MAX and time.monotonic() < deadline:
        time.sleep(LOOK_PAUSE_S)
