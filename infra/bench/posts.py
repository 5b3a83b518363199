"""Which posts are sent, and what must come of each; the same arguments always give the same plan."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from infra.bench.cast import ACCOUNT, is_licensed


@dataclass(frozen=True)
class Shown:
    """A published picture by its file's name: an edited reference of a twin, or (`twin` null) of nobody known."""

    name: str
    twin: str | None
    reference: int = 0

    @property
    def kind(self) -> str:
        """`licensed` and `accused` end as a ledger row and an alert; `nobody` as neither."""
        if self.twin is None:
            return "nobody"
        return "licensed" if is_licensed(self.twin) else "accused"


@dataclass(frozen=True)
class Post:
    """One post with one picture."""

    post_id: str
    picture: Shown


@dataclass(frozen=True)
class Told:
    """One fact for the client to send: a post that appears with the picture at `url`, or (null) is measured."""

    post_id: str
    url: str | None


def plan(prefix: str, count: int, pool: Sequence[Shown], twin_share: float) -> list[Post]:
    """So many posts, the share of them showing a twin, half of these a licensed one; pictures take turns."""
    shows_twin = round(count * twin_share)
    kinds = ["licensed"] * (shows_twin // 2) + ["accused"] * (shows_twin - shows_twin // 2)
    kinds += ["nobody"] * (count - len(kinds))
    random.Random(count).shuffle(kinds)  # noqa: S311 - an order, no secret
    turns = {kind: _turns([each for each in pool if each.kind == kind], kind) for kind in sorted(set(kinds))}
    return [Post(f"{prefix}-{number:06}", next(turns[kind])) for number, kind in enumerate(kinds)]


def ids_of(posts: Sequence[Post], kind: str) -> list[str]:
    """The posts whose picture is of this kind."""
    return [post.post_id for post in posts if post.picture.kind == kind]


def told_of(posts: Sequence[Post], host: str) -> list[Told]:
    """Each post as it appears. Every post has an address, and the host gives it a file, of its own."""
    return [Told(post.post_id, f"{host}/p/{post.picture.name}/{post.post_id}.jpg") for post in posts]


def with_readings(posts: Sequence[Told], count: int) -> list[Told]:
    """So many facts: the posts, and between them readings of posts that came before."""
    facts: list[Told] = []
    for number in range(count):
        place = number * len(posts) // count
        is_new = place != (number - 1) * len(posts) // count or number == 0
        facts.append(posts[place] if is_new else Told(posts[place].post_id, None))
    return facts


def item_of(told: Told, *, number: int, now: str) -> dict[str, Any]:
    """The fact as a webhook tells it; `number` tells one reading of a post from the next."""
    if told.url is None:
        return {"type": "post.measured", "post_id": told.post_id, "occurred_at": now, "impressions": number}
    post = {"account": ACCOUNT, "territories": ["DE"], "media": [{"url": told.url}]}
    return {"type": "post.published", "post_id": told.post_id, "occurred_at": now, "post": post}


def _turns(pool: Sequence[Shown], kind: str) -> Iterator[Shown]:
    if not pool:
        raise ValueError(f"no picture is {kind}; draw more pictures")
    while True:
        yield from pool
