"""What happens while everything is killed: a cast, posts without end, and what must be true of them at last.

By construction, as in the demo: each post is built to get its verdict, and nothing here works one out.
"""

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from infra.demo.cast import BRANDS, PLATFORMS, Brand, Cast, Consent, License, Talent
from infra.demo.story import Content, Fact, Judged, Picture, Use

TWINS = tuple(f"t{number:02}" for number in range(1, 13))
# Their license comes late, or their brand's account.
CHANGING = ("t05", "t06", "t11")
PICTURES_PER_TWIN = 8
STRANGERS = 6
DAY, HOUR = timedelta(days=1), timedelta(hours=1)
# This brand has no account before the story is under way.
DRIFT = "drift"
DRIFT_ACCOUNTS = {platform: f"drift.{platform}" for platform in PLATFORMS}


@dataclass(frozen=True)
class Shown:
    """A version of a post that shows a twin, and by which pictures."""

    shown_from: datetime
    pictures: frozenset[str]


@dataclass(frozen=True)
class Post:
    """One post: all its facts in the order of their times, and what is true of it."""

    facts: tuple[Fact, ...]
    uses: tuple[Use, ...] = ()
    shown: Mapping[str, tuple[Shown, ...]] = field(default_factory=dict)


def chaos_cast(now: datetime) -> Cast:
    """Twelve twins, each with a story of its own; see `Teller`."""
    brands = {**BRANDS, DRIFT: Brand(DRIFT, {})}
    names = list(BRANDS)
    granted = [_license(f"{twin}-{names[at % 3]}", twin, names[at % 3], at, now) for at, twin in enumerate(TWINS[:4])]
    granted += [
        _license("t07-acme", "t07", "acme", 6, now),
        _license("t08-borealis", "t08", "borealis", 7, now),
        _license("t09-cobalt", "t09", "cobalt", 8, now, territories=("DE", "AT")),
        _license("t11-drift", "t11", DRIFT, 10, now),
    ]
    late = [_license("t05-borealis", "t05", "borealis", 4, now), _license("t06-cobalt", "t06", "cobalt", 5, now)]
    return Cast(
        agencies=("aurora", "nordlicht"),
        brands=brands,
        talents={twin: Talent(twin, "aurora" if at % 2 else "nordlicht") for at, twin in enumerate(TWINS)},
        licenses={each.name: each for each in granted},
        late={each.name: each for each in late},
        # Told while posts stream in, and in force since long before any of them.
        terminated={"t07-acme": now - 10 * HOUR},
        consents={twin: Consent(twin, now - 300 * DAY) for twin in TWINS},
    )


def _license(
    name: str, twin: str, brand: str, number: int, now: datetime, territories: tuple[str, ...] | None = None
) -> License:
    return License(
        name=name,
        twin=twin,
        brand=brand,
        # Odd cents and thirds: a share that is rounded twice would show.
        fee_minor=10_001 + 1_237 * number,
        currency="EUR",
        talent_basis_points=(7_000, 6_667, 3_333, 5_000)[number % 4],
        platforms=None,
        territories=territories,
        valid_from=now - 200 * DAY,
        valid_until=now + 100 * DAY,
    )


class Teller:
    """Makes one post after the other, the same ones for the same seed."""

    def __init__(self, cast: Cast, now: datetime, seed: int) -> None:
        self._cast = cast
        self._chance = random.Random(seed)
        self._now = now
        self._number = 0
        self._plots: tuple[tuple[int, Callable[[str, str], Post]], ...] = (
            (50, self._plain),
            (12, self._edited_away),
            (12, self._edited_in),
            (10, self._deleted),
            (8, self._measured),
            (5, self._of_two),
            (3, self._of_nobody),
        )

    def posts(self) -> Iterator[Post]:
        """For ever."""
        while True:
            self._number += 1
            platform = self._chance.choice(PLATFORMS)
            [plot] = self._chance.choices(
                [plot for _, plot in self._plots], weights=[weight for weight, _ in self._plots]
            )
            yield plot(platform, f"{platform[:2]}-{self._number:05}")

    def _scene(self, platform: str) -> tuple[str, str, tuple[str, ...], Judged]:
        """A twin, the account that shows it, where, and the verdict that this gets at last."""
        twin, cast = self._chance.choice(TWINS), self._cast
        near = ("DE",)
        match twin:
            case "t09" if self._chance.random() < 0.5:
                return twin, cast.brands["cobalt"].accounts[platform], ("US",), Judged("out_of_scope", ("territory",))
            case "t07":
                return twin, cast.brands["acme"].accounts[platform], near, Judged("out_of_scope", ("term",))
            case "t08":
                return twin, cast.brands["borealis"].accounts[platform], near, Judged("out_of_scope", ("consent",))
            case "t10":
                return twin, f"outlet.{self._chance.randrange(20):02}", near, Judged("unlicensed", ("account",))
            case "t11":
                return twin, DRIFT_ACCOUNTS[platform], near, Judged("licensed", license="t11-drift")
            case "t12":
                return twin, cast.brands["acme"].accounts[platform], near, Judged("unlicensed", ("license",))
        known = (*cast.licenses.values(), *cast.late.values())
        license = next(each for each in known if each.twin == twin)
        account = cast.brands[license.brand].accounts[platform]
        return twin, account, near, Judged("licensed", license=license.name)

    def _picture(self, twin: str | None) -> Picture:
        number = self._chance.randrange(PICTURES_PER_TWIN if twin else STRANGERS)
        return Picture(f"{twin or 'nobody'}-{number}.jpg", twin, number % 4, ())

    def _some(self, twin: str) -> tuple[Picture, ...]:
        return tuple({found.name: found for found in (self._picture(twin) for _ in range(2))}.values())

    def _at(self, minutes: float) -> datetime:
        return self._now - 5 * HOUR + timedelta(minutes=minutes, seconds=self._number % 60)

    def _plain(self, platform: str, post: str) -> Post:
        twin, account, where, judged = self._scene(platform)
        fact = Fact("published", platform, post, self._at(0), Content(account, self._some(twin), where))
        return _of(twin, judged, (fact,))

    def _edited_away(self, platform: str, post: str) -> Post:
        twin, account, where, judged = self._scene(platform)
        first = Fact("published", platform, post, self._at(0), Content(account, self._some(twin), where))
        then = Fact("edited", platform, post, self._at(30), Content(account, (self._picture(None),), where))
        return _of(twin, judged, (first, then), ended=True)

    def _edited_in(self, platform: str, post: str) -> Post:
        twin, account, where, judged = self._scene(platform)
        first = Fact("published", platform, post, self._at(0), Content(account, (self._picture(None),), where))
        pictures = (self._picture(None), *self._some(twin))
        then = Fact("edited", platform, post, self._at(30), Content(account, pictures, where))
        last = Fact("edited", platform, post, self._at(60), Content(account, pictures[::-1], where))
        return _of(twin, judged, (first, then, last))

    def _deleted(self, platform: str, post: str) -> Post:
        shown = self._plain(platform, post)
        facts = (*shown.facts, Fact("deleted", platform, post, self._at(90)))
        return _of(shown.uses[0].twin, shown.uses[0].last, facts, ended=True)

    def _measured(self, platform: str, post: str) -> Post:
        shown = self._plain(platform, post)
        counts = [
            Fact("measured", platform, post, self._at(20 + at), impressions=self._chance.randrange(99_999))
            for at in (0, 7)
        ]
        return _of(shown.uses[0].twin, shown.uses[0].last, (*shown.facts, *counts))

    def _of_two(self, platform: str, post: str) -> Post:
        account = f"mixed.{self._chance.randrange(9)}"
        pair = self._chance.sample(TWINS, 2)
        pictures = tuple(self._picture(twin) for twin in pair)
        fact = Fact("published", platform, post, self._at(0), Content(account, pictures))
        judged = Judged("unlicensed", ("account",))
        both = [_of(twin, judged, (fact,)) for twin in pair]
        return Post((fact,), both[0].uses + both[1].uses, {**both[0].shown, **both[1].shown})

    def _of_nobody(self, platform: str, post: str) -> Post:
        content = Content("a.stranger", (self._picture(None),))
        return Post((Fact("published", platform, post, self._at(0), content),))


def _of(twin: str, judged: Judged, facts: tuple[Fact, ...], *, ended: bool = False) -> Post:
    first = facts[0]
    # Before people change their minds these may be accused, and the accusation taken back; so may a post while only a
    # later version of it is known. Nobody else, whatever is killed.
    passing = twin in CHANGING or sum(fact.content is not None for fact in facts) > 1
    use = Use(first.platform, first.post, twin, judged, judged, ended=ended, passing=passing)
    shown = [
        Shown(fact.occurred_at, frozenset(each.name for each in fact.content.pictures if each.twin == twin))
        for fact in facts
        if fact.content is not None
    ]
    return Post(facts, (use,), {twin: tuple(version for version in shown if version.pictures)})
