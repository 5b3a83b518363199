"""What happens: posts with their pictures, in the order in which the platforms tell of them, and what is true of each.

Every scene writes down the verdict that it was built to get; nothing here works a verdict out.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

Verdict = Literal["licensed", "out_of_scope", "unlicensed", "no_use"]
Kind = Literal["published", "edited", "deleted", "measured"]
Served = Literal["shown", "undecodable", "stalls_once", "stalls"]


@dataclass(frozen=True)
class Picture:
    """A published image: a reference of a twin after edits, or (`twin` null) a picture of someone nobody registered.

    `scene` names what a stranger's picture shares with the look-alikes: their place and pose, or nothing (null).
    """

    name: str
    twin: str | None
    reference: int
    edits: tuple[str, ...]
    served: Served = "shown"
    scene: int | None = None


@dataclass(frozen=True)
class Content:
    """A post as one of its versions shows it."""

    account: str
    pictures: tuple[Picture, ...]
    territories: tuple[str, ...] = ("DE",)
    partners: tuple[str, ...] = ()
    reposts: str | None = None


@dataclass(frozen=True)
class Fact:
    """What a platform tells of a post."""

    kind: Kind
    platform: str
    post: str
    occurred_at: datetime
    content: Content | None = None
    impressions: int | None = None
    backfill: bool = False


@dataclass(frozen=True)
class Judged:
    """A verdict with the dimensions that fail, and the license that is billed when it is licensed."""

    verdict: Verdict
    fails: tuple[str, ...] = ()
    license: str | None = None


@dataclass(frozen=True)
class Use:
    """One twin in one post: what is true at last; `first` differs where something was learnt after the posts."""

    platform: str
    post: str
    twin: str
    last: Judged
    first: Judged
    ended: bool = False
    backfill: bool = False
    # An accusation that may have been made for a moment and taken back: its facts came in the wrong order.
    passing: bool = False


@dataclass
class Story:
    """Scenes are added one by one; what they tell is sent in this order."""

    now: datetime
    told: list[Fact] = field(default_factory=list)
    uses: list[Use] = field(default_factory=list)
    repeats: list[int] = field(default_factory=list)
    posts: int = 0
    pictures: int = 0

    def ago(self, hours: float) -> datetime:
        """A moment before now."""
        return self.now - timedelta(hours=hours)

    def new_post(self, platform: str) -> str:
        """A name for the next post."""
        self.posts += 1
        return f"{platform[:2]}-{self.posts:04}"

    def picture(
        self, twin: str | None, edits: Sequence[str] = (), *, served: Served = "shown", scene: int | None = None
    ) -> Picture:
        """The next picture; a twin's references take turns, and no two pictures are the same file."""
        self.pictures += 1
        reference = self.pictures % 4 if scene is None else scene
        return Picture(f"{self.pictures:04}.jpg", twin, reference, tuple(edits), served, scene)

    def tell(self, fact: Fact, *, again: bool = False) -> None:
        """Send a fact; `again` sends it a second time, word for word."""
        if again:
            self.repeats.append(len(self.told))
        self.told.append(fact)

    def publish(
        self,
        platform: str,
        content: Content,
        expected: Sequence[tuple[str, Judged]],
        *,
        hours: float = 2.0,
        backfill: bool = False,
        again: bool = False,
    ) -> str:
        """A post that appears and stays as it is, with what is true of each twin in it."""
        post = self.new_post(platform)
        fact = Fact("published", platform, post, self.ago(hours), content, backfill=backfill)
        self.tell(fact, again=again)
        self.uses += [Use(platform, post, twin, judged, judged, backfill=backfill) for twin, judged in expected]
        return post


@dataclass(frozen=True)
class Sending:
    """One signed webhook: facts of one platform."""

    platform: str
    facts: tuple[Fact, ...]


def sendings_of(story: Story, *, batch: int = 6) -> list[Sending]:
    """The webhooks in their order: batches of one platform; repeats follow in webhooks of their own, one fact each."""
    sendings: list[Sending] = []
    waiting: dict[str, list[Fact]] = {}
    for fact in story.told:
        waiting.setdefault(fact.platform, []).append(fact)
        if len(waiting[fact.platform]) == batch:
            sendings.append(Sending(fact.platform, tuple(waiting.pop(fact.platform))))
    sendings += [Sending(platform, tuple(facts)) for platform, facts in waiting.items()]
    return sendings + [Sending(story.told[place].platform, (story.told[place],)) for place in story.repeats]
