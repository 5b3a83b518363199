"""A post is a pure fold over its facts; a use is what the fold and the sightings say of one twin."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from shared.events import (
    Disclosure,
    PostContent,
    PostDeleted,
    PostEdited,
    PostFact,
    PostMeasured,
    PostPublished,
    Reading,
    Sighting,
    UseSeen,
    VersionSeen,
)
from shared.ids import sighting_id, use_id


@dataclass(frozen=True, order=True)
class PostKey:
    """Which post; a sandbox post is another post than a live one of the same name."""

    platform: str
    post_id: str
    livemode: bool

    @classmethod
    def of(cls, fact: PostFact) -> "PostKey":
        """The post that a fact is about."""
        return cls(fact.platform, fact.post_id, fact.livemode)


@dataclass(frozen=True)
class Version:
    """A post as it was from one fact until the next that changed it."""

    event_id: str
    shown_from: datetime
    shown_until: datetime | None
    post: PostContent


@dataclass(frozen=True)
class Post:
    """Everything that the facts of one post add up to."""

    platform: str
    post_id: str
    livemode: bool
    versions: tuple[Version, ...]
    readings: tuple[Reading, ...]
    last_fact_at: datetime
    backfill: bool
    time_doubtful: bool


@dataclass(frozen=True)
class Seen:
    """A reference found in an image, before it belongs to a use."""

    reference_id: str
    twin_id: str
    media_digest: str
    score: float
    region: tuple[float, float, float, float]
    transform: tuple[tuple[float, float, float], tuple[float, float, float], tuple[float, float, float]]
    description: str
    algorithm: str
    disclosure: Disclosure | None = None
    covered_share: float | None = None


# Per fact (event id), per media item in its order: the digest of its image, or None while it is not known.
Digests = Mapping[str, Sequence[str | None]]

# Platforms tell whole seconds: what is published and deleted within one must end as deleted.
_RANK = {"published": 0, "edited": 1, "measured": 2, "deleted": 3}


def told_again(known: PostFact, again: PostFact) -> PostFact:
    """Two copies of one fact as one: what intake noted of a copy holds while every copy says so, whatever their order.

    A copy without `backfill` was told live, and what was told live once is live: its alerts are sent. A copy without
    `time_doubtful` came when its time was plausible; that another one came late takes nothing from it.
    """
    flags = {
        "backfill": known.backfill and again.backfill,
        "time_doubtful": known.time_doubtful and again.time_doubtful,
    }
    return known.model_copy(update=flags)


def fold(facts: Sequence[PostFact]) -> Post:
    """The post that these facts tell of, in whatever order they came; ValueError when there is none.

    Facts are ordered by (occurred_at, kind, event id); of one moment, a deletion comes last. A version lasts until the
    next version or the deletion. A post is backfilled while none of its versions was told live; that an old post is
    measured or deleted today is no news to anybody.
    """
    if not facts:
        raise ValueError("a post is known by at least one fact")
    ordered = sorted(facts, key=lambda fact: (fact.occurred_at, _RANK[fact.kind], str(fact.event_id())))
    changes = [fact for fact in ordered if isinstance(fact, PostPublished | PostEdited | PostDeleted)]
    ends = [change.occurred_at for change in changes[1:]] + [None]
    versions = tuple(
        Version(str(change.event_id()), change.occurred_at, end, change.post)
        for change, end in zip(changes, ends, strict=False)
        if not isinstance(change, PostDeleted)
    )
    readings = {(fact.occurred_at, fact.impressions) for fact in ordered if isinstance(fact, PostMeasured)}
    first = ordered[0]
    return Post(
        platform=first.platform,
        post_id=first.post_id,
        livemode=first.livemode,
        versions=versions,
        readings=tuple(Reading(measured_at=at, impressions=count) for at, count in sorted(readings)),
        last_fact_at=ordered[-1].occurred_at,
        backfill=all(fact.backfill for fact in ordered if isinstance(fact, PostPublished | PostEdited)),
        time_doubtful=any(fact.time_doubtful for fact in ordered),
    )


def uses_of(post: Post, digests: Digests, seen: Mapping[str, Sequence[Seen]], revision: int = 1) -> list[UseSeen]:
    """One use per twin that any version of the post shows; `seen` maps an image's digest to what was found in it.

    A use starts with the first version that shows the twin and ends with the last; a gap makes no second use.
    """
    twins = sorted({found.twin_id for several in seen.values() for found in several})
    uses = [_use_of(twin, post, digests, seen, revision) for twin in twins]
    return [use for use in uses if use is not None]


def _use_of(
    twin_id: str, post: Post, digests: Digests, seen: Mapping[str, Sequence[Seen]], revision: int
) -> UseSeen | None:
    use = use_id(platform=post.platform, post_id=post.post_id, twin_id=twin_id, livemode=post.livemode)
    showing = []
    for version in post.versions:
        sightings = _sightings_of(twin_id, use, version, digests.get(version.event_id, ()), seen)
        if sightings:
            showing.append(_version_seen(version, sightings))
    if not showing:
        return None
    return UseSeen(
        livemode=post.livemode,
        occurred_at=post.last_fact_at,
        revision=revision,
        use_id=use,
        platform=post.platform,
        post_id=post.post_id,
        twin_id=twin_id,
        backfill=post.backfill,
        time_doubtful=post.time_doubtful,
        versions=tuple(showing),
        started_at=showing[0].shown_from,
        ended_at=showing[-1].shown_until,
        readings=post.readings,
    )


def _sightings_of(
    twin_id: str,
    use: str,
    version: Version,
    digests: Sequence[str | None],
    seen: Mapping[str, Sequence[Seen]],
) -> tuple[Sighting, ...]:
    by_id: dict[str, Sighting] = {}
    for item, digest in zip(version.post.media, digests, strict=False):
        for found in seen.get(digest or "", ()):
            if found.twin_id == twin_id:
                sighting = _sighting(found, use, item.url, version.post.ai_label_shown)
                # The same image twice in one version is one sighting; the first address names it.
                by_id.setdefault(sighting.sighting_id, sighting)
    return tuple(by_id[name] for name in sorted(by_id))


def _sighting(found: Seen, use: str, media_url: str | None, platform_label: bool | None) -> Sighting:
    return Sighting(
        sighting_id=sighting_id(use_id=use, media_digest=found.media_digest, reference_id=found.reference_id),
        reference_id=found.reference_id,
        media_digest=found.media_digest,
        media_url=media_url,
        score=found.score,
        region=found.region,
        transform=found.transform,
        description=found.description,
        algorithm=found.algorithm,
        disclosure=found.disclosure,
        platform_label=platform_label,
        covered_share=found.covered_share,
    )


def _version_seen(version: Version, sightings: tuple[Sighting, ...]) -> VersionSeen:
    post = version.post
    return VersionSeen(
        event_id=version.event_id,
        shown_from=version.shown_from,
        shown_until=version.shown_until,
        account=post.account,
        partner_accounts=post.partner_accounts,
        paid_partnership=post.paid_partnership,
        territories=post.territories,
        media_use=post.media_use,
        product_category=post.product_category,
        ai_label_shown=post.ai_label_shown,
        reposts=post.reposts,
        sightings=sightings,
    )
