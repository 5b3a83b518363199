"""Who plays: agencies with twins, one brand; every second twin is licensed to it."""

from datetime import datetime

from infra.demo.cast import DAY, REFERENCES_PER_TWIN, Brand, Cast, Consent, License, Talent

AGENCIES = ("north", "east", "south", "west")
PLATFORM, ACCOUNT = "instagram", "acme.studio"
BRAND = Brand("acme", {PLATFORM: ACCOUNT})


def twins_of(references: int) -> list[str]:
    """The names of the twins that have so many references together."""
    return [f"b{number:05}" for number in range(1, max(2, references // REFERENCES_PER_TWIN) + 1)]


def number_of(twin: str) -> int:
    """The number in a twin's name, from 1."""
    return int(twin[1:])


def is_licensed(twin: str) -> bool:
    """Whether the brand may show this twin."""
    return number_of(twin) % 2 == 0


def bench_cast(references: int, now: datetime) -> Cast:
    """Everyone: nobody has limits, so a post of a licensed twin is billed and any other is an infringement."""
    twins = twins_of(references)
    return Cast(
        agencies=AGENCIES,
        brands={BRAND.name: BRAND},
        talents={twin: Talent(twin, AGENCIES[number_of(twin) % len(AGENCIES)]) for twin in twins},
        licenses={twin: _license(twin, now) for twin in twins if is_licensed(twin)},
        late={},
        terminated={},
        consents={twin: Consent(twin, now - 300 * DAY) for twin in twins},
    )


def _license(twin: str, now: datetime) -> License:
    return License(
        name=f"{twin}-{BRAND.name}",
        twin=twin,
        brand=BRAND.name,
        fee_minor=10_000 + number_of(twin),
        currency="EUR",
        talent_basis_points=7_000,
        platforms=None,
        territories=None,
        valid_from=now - 200 * DAY,
        valid_until=now + 100 * DAY,
    )
