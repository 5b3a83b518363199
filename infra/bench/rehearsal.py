"""Each picture is published once before anything is measured: what the house does not see as drawn is left out."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from infra.bench.drawing import big_pool, small_pool
from infra.bench.playing import Failed, flood, within_s
from infra.bench.posts import Post, Shown, told_of
from infra.bench.stage import Bench

# Fewer than this, and it is not single pictures that the house does not see.
SEEN_SHARE_MIN = 0.8
# A strange picture that was taken for a twin would show a moment later than the backlog is empty at most.
SETTLE_S = 1.0


@dataclass(frozen=True)
class Pools:
    """The pictures that ended as they must: large ones, and the few small ones."""

    big: tuple[Shown, ...]
    small: tuple[Shown, ...]
    left_out: tuple[str, ...]


def rehearse(bench: Bench) -> Pools:
    """Publish every picture, and look what came of it."""
    wanted = (*big_pool(bench.sizes), *small_pool(bench.sizes))
    posts = [Post(f"rehearsal-{number:05}", shown) for number, shown in enumerate(wanted)]
    with bench.steps.step(f"rehearsing: each of {len(posts)} pictures once") as step:
        flood(bench, told_of(posts, bench.outside_url))
        bench.lookout.until_done(within_s(len(posts)), step)
        time.sleep(SETTLE_S)
    booked, alerted = bench.lookout.booked_at("rehearsal-"), bench.received_at("rehearsal-")
    good = {post.picture for post in posts if _is_as_drawn(post, booked, alerted)}
    _enough(good, wanted)
    left_out = tuple(shown.name for shown in wanted if shown not in good)
    big, small = (
        tuple(shown for shown in pool if shown in good) for pool in (big_pool(bench.sizes), small_pool(bench.sizes))
    )
    return Pools(big, small, left_out)


def _is_as_drawn(post: Post, booked: dict[str, float], alerted: dict[str, float]) -> bool:
    expected = {"licensed": (True, False), "accused": (False, True), "nobody": (False, False)}
    return (post.post_id in booked, post.post_id in alerted) == expected[post.picture.kind]


def _enough(good: set[Shown], wanted: Sequence[Shown]) -> None:
    for kind in ("licensed", "accused", "nobody"):
        those = [shown for shown in wanted if shown.kind == kind]
        seen = sum(shown in good for shown in those)
        if seen < SEEN_SHARE_MIN * len(those):
            raise Failed(f"of {len(those)} pictures that are {kind}, {seen} ended so: nothing can be measured")
