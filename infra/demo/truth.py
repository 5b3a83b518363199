"""What is true of the demo, written down by construction and worked out without anything that is tested by it.

The arithmetic of money stands here a second time, on purpose. Of the project this imports only the demo's own cast and
story.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction

from infra.demo.cast import Cast, License, cast_of
from infra.demo.scenes import tell_all
from infra.demo.story import Fact, Judged, Picture, Sending, Story, Use, sendings_of

Money = Mapping[str, int]
"""`payee currency` (as in `talent:t01 EUR`) to minor units; what a brand owes stands under the brand."""


@dataclass(frozen=True)
class Truth:
    """The whole demo: who, what, and what must come of it."""

    now: datetime
    cast: Cast
    sendings: tuple[Sending, ...]
    uses: tuple[Use, ...]
    accepted: int
    duplicates: int
    media: Mapping[str, int]

    @property
    def pictures(self) -> list[Picture]:
        """Every published image once."""
        found = {picture.name: picture for fact in self.facts for picture in pictures_of(fact)}
        return [found[name] for name in sorted(found)]

    @property
    def facts(self) -> list[Fact]:
        """Every fact that is told, repeats left out."""
        return list(dict.fromkeys(fact for sending in self.sendings for fact in sending.facts))

    @property
    def sightings(self) -> int:
        """How many published images show a twin and could be had."""
        return sum(shows_a_twin(picture) for picture in self.pictures)


def truth_of(now: datetime) -> Truth:
    """The demo as it is played at this moment."""
    cast, story = cast_of(now), Story(now)
    tell_all(story, cast)
    return Truth(
        now=now,
        cast=cast,
        sendings=tuple(sendings_of(story)),
        uses=tuple(story.uses),
        accepted=len(story.told),
        duplicates=len(story.repeats),
        media=Counter(_outcome(picture) for fact in story.told for picture in pictures_of(fact)),
    )


def pictures_of(fact: Fact) -> tuple[Picture, ...]:
    """The images that a fact shows."""
    return fact.content.pictures if fact.content else ()


def shows_a_twin(picture: Picture) -> bool:
    """Can a registered twin be seen in it?"""
    return picture.twin is not None and picture.served in ("shown", "stalls_once")


def _outcome(picture: Picture) -> str:
    match picture.served:
        case "undecodable":
            return "undecodable"
        case "stalls":
            return "unfetchable"
        case _:
            return "matched" if picture.twin else "unmatched"


def judged(use: Use, *, at_last: bool) -> Judged:
    """What is true of a use: at first, or at last, when everything is known."""
    return use.last if at_last else use.first


def is_accused(verdict: Judged) -> bool:
    """Does its agency have a case of it?"""
    return verdict.verdict in ("unlicensed", "out_of_scope")


def agency_of(cast: Cast, use: Use) -> str:
    """The agency whose twin it is."""
    return cast.talents[use.twin].agency


def statements(truth: Truth, *, at_last: bool = True) -> dict[str, int]:
    """What every payee earned and every brand owes, to the smallest unit."""
    totals: Counter[str] = Counter()
    for use in truth.uses:
        true = judged(use, at_last=at_last)
        if true.license is not None:
            totals.update(shares_of(truth.cast, truth.cast.license_of(true.license)))
    return dict(sorted(totals.items()))


def shares_of(cast: Cast, license: License) -> dict[str, int]:
    """One fee: what talent and agency get of it, and what the brand owes for it."""
    talent, agency = f"talent:{license.twin}", f"agency:{cast.talents[license.twin].agency}"
    parts = {talent: license.talent_basis_points, agency: 10_000 - license.talent_basis_points}
    given = shared(license.fee_minor, {name: part for name, part in parts.items() if part})
    owed = {f"brand:{license.brand}": license.fee_minor}
    return {f"{name} {license.currency}": minor for name, minor in {**given, **owed}.items()}


def shared(amount: int, parts: Mapping[str, int]) -> dict[str, int]:
    """The amount by parts of 10,000: everyone's whole units first, then one more to the largest remainders.

    Equal remainders go to the lower name.
    """
    exact = {name: Fraction(amount * part, 10_000) for name, part in parts.items()}
    given = {name: share.numerator // share.denominator for name, share in exact.items()}
    waiting = sorted(exact, key=lambda name: (given[name] - exact[name], name))
    for name in waiting[: amount - sum(given.values())]:
        given[name] += 1
    return given


def verdicts(uses: Iterable[Use], *, at_last: bool = True) -> dict[str, int]:
    """How many uses get each verdict."""
    return dict(Counter(judged(use, at_last=at_last).verdict for use in uses))
