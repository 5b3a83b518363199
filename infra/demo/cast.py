"""Who plays: agencies, brands with accounts, talents with twins, what was granted, what was allowed."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

PLATFORMS = ("instagram", "tiktok", "mastodon")
TWINS = 30
REFERENCES_PER_TWIN = 4
# These two were photographed in the same places, in the same poses, under the same label.
LOOK_ALIKES = ("t16", "t17")
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@dataclass(frozen=True)
class Brand:
    """A brand and its account on each platform."""

    name: str
    accounts: Mapping[str, str]


@dataclass(frozen=True)
class Talent:
    """A talent, its one twin (they share a name here), and the agency that represents it."""

    name: str
    agency: str


@dataclass(frozen=True)
class License:
    """A grant at a flat fee. `fee_minor` counts the smallest unit of the currency; null limits allow anything."""

    name: str
    twin: str
    brand: str
    fee_minor: int
    currency: str
    talent_basis_points: int
    platforms: tuple[str, ...] | None
    territories: tuple[str, ...] | None
    valid_from: datetime
    valid_until: datetime


@dataclass(frozen=True)
class Consent:
    """A talent's permission; `withdrawn_at` is known before any post."""

    twin: str
    granted_at: datetime
    withdrawn_at: datetime | None = None


@dataclass(frozen=True)
class Cast:
    """Everyone, and all that stands before the first post; `late` and `terminated` are told only after the posts."""

    agencies: tuple[str, ...]
    brands: Mapping[str, Brand]
    talents: Mapping[str, Talent]
    licenses: Mapping[str, License]
    late: Mapping[str, License]
    terminated: Mapping[str, datetime]
    consents: Mapping[str, Consent]

    def license_of(self, name: str) -> License:
        """A license by its name, early or late."""
        return self.licenses.get(name) or self.late[name]


BRANDS = {
    "acme": Brand("acme", {"instagram": "acme.studio", "tiktok": "acmeofficial", "mastodon": "@acme@shop.example"}),
    "borealis": Brand(
        "borealis", {"instagram": "borealis_wear", "tiktok": "borealis", "mastodon": "@hello@borealis.example"}
    ),
    "cobalt": Brand(
        "cobalt", {"instagram": "cobalt.denim", "tiktok": "cobaltdenim", "mastodon": "@cobalt@jeans.example"}
    ),
}
# The talent's part of each fee, in hundredths of a percent: several leave half a cent, or a third, to somebody.
SPLITS = (7_000, 5_000, 6_667, 8_000, 3_333, 10_000)


def cast_of(now: datetime) -> Cast:
    """Everyone, as of this moment; the posts of the story lie in the hours before it."""
    names = [f"t{number:02}" for number in range(1, TWINS + 1)]
    talents = {name: Talent(name, "aurora" if index < 16 else "nordlicht") for index, name in enumerate(names)}
    consents = {name: Consent(name, now - 300 * DAY) for name in names}
    consents["t21"] = Consent("t21", now - 300 * DAY, withdrawn_at=now - 2 * DAY)
    licenses = {each.name: each for each in _licenses(names, now)}
    late = _license("late-t23", "t23", "borealis", 7, now)
    return Cast(
        agencies=("aurora", "nordlicht"),
        brands=BRANDS,
        talents=talents,
        licenses=licenses,
        late={late.name: late},
        terminated={"t20-terminated": now - 6 * HOUR},
        consents=consents,
    )


def _licenses(names: list[str], now: datetime) -> list[License]:
    """t01 to t12 anything; then one limit each; t22 and t24 to t30 have none, t23 a late one."""
    brands = list(BRANDS)
    granted = [
        _license(f"{name}-{brands[index % 3]}", name, brands[index % 3], index, now)
        for index, name in enumerate(names[:12])
    ]
    near, home = ("DE", "AT", "CH"), ("FR",)
    granted += [
        # Two licenses with one brand: the one that covers the place is the one that counts.
        _license("t13-near", "t13", "acme", 12, now, territories=near),
        _license("t13-home", "t13", "acme", 13, now, territories=home),
        _license("t14-near", "t14", "borealis", 14, now, territories=near),
        _license("t15-instagram", "t15", "cobalt", 15, now, platforms=("instagram",)),
        _license("t16-acme", "t16", "acme", 16, now),
        _license("t17-borealis", "t17", "borealis", 17, now),
        _license("t18-expired", "t18", "cobalt", 18, now, valid_until=now - 10 * DAY),
        _license("t19-until-three", "t19", "acme", 19, now, valid_until=now - 3 * HOUR),
        _license("t20-terminated", "t20", "borealis", 20, now),
        _license("t21-cobalt", "t21", "cobalt", 21, now),
    ]
    # Yen have no smaller unit: the fee is in whole yen.
    yen = {"t05-borealis": 15_431, "t17-borealis": 9_999}
    return [
        License(**{**vars(each), "fee_minor": yen[each.name], "currency": "JPY"}) if each.name in yen else each
        for each in granted
    ]


def _license(
    name: str,
    twin: str,
    brand: str,
    number: int,
    now: datetime,
    *,
    platforms: tuple[str, ...] | None = None,
    territories: tuple[str, ...] | None = None,
    valid_until: datetime | None = None,
) -> License:
    return License(
        name=name,
        twin=twin,
        brand=brand,
        fee_minor=10_001 + 1_237 * number,
        currency="EUR",
        talent_basis_points=SPLITS[number % len(SPLITS)],
        platforms=platforms,
        territories=territories,
        valid_from=now - 200 * DAY,
        valid_until=valid_until or now + 100 * DAY,
    )
