"""Whether a use is licensed: the license chosen for it, the dimensions it fails in, the verdict."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from shared.events import BrandState, ConsentState, LicenseState, LicenseVersion, Reason, UseSeen, VersionSeen

Account = tuple[str, str]
"""A social account: its platform and the platform's id of it."""


@dataclass(frozen=True)
class Licensed:
    """A license covers the use: it is billed."""

    license: LicenseState
    version: LicenseVersion
    reasons: tuple[Reason, ...] = ()


@dataclass(frozen=True)
class OutOfScope:
    """A license with that brand exists, but not for this."""

    license: LicenseState
    version: LicenseVersion | None
    reasons: tuple[Reason, ...]


@dataclass(frozen=True)
class Unlicensed:
    """No license of this twin with any of the brands, or no brand at all."""

    reasons: tuple[Reason, ...]


@dataclass(frozen=True)
class NoUse:
    """A native repost by an account of no brand: someone shows a post to friends."""

    reasons: tuple[Reason, ...] = ()


Verdict = Licensed | OutOfScope | Unlicensed | NoUse


@dataclass(frozen=True)
class Use:
    """One twin in one post, and whose accounts published it."""

    seen: UseSeen
    brands_of: Mapping[Account, frozenset[str]] = field(default_factory=dict)

    @classmethod
    def known_with(cls, seen: UseSeen, brands: Iterable[BrandState]) -> "Use":
        """The use with what is known of its accounts; a live use knows live brands only.

        A brand that was withdrawn keeps the accounts that its state names: what was licensed then stays licensed.
        """
        wanted = accounts_of(seen)
        owners: dict[Account, set[str]] = {}
        for brand in brands:
            for account in brand.accounts if brand.livemode or not seen.livemode else ():
                key = (account.platform, account.account)
                if key in wanted:
                    owners.setdefault(key, set()).add(brand.party_id)
        return cls(seen, {key: frozenset(owner) for key, owner in owners.items()})

    @property
    def brand_ids(self) -> frozenset[str]:
        """The candidate brands of any version."""
        return frozenset().union(*(self.brands_in(version) for version in self.seen.versions))

    def brands_in(self, version: VersionSeen) -> frozenset[str]:
        """The poster's brands and, in a paid partnership, the partners'."""
        partners = version.partner_accounts if version.paid_partnership else ()
        accounts = (version.account, *partners)
        return frozenset().union(*(self._owners(account) for account in accounts))

    @property
    def is_native_repost(self) -> bool:
        """Does every version only repost another post, by an account of no brand?"""
        return all(version.reposts and not self._owners(version.account) for version in self.seen.versions)

    def _owners(self, account: str) -> frozenset[str]:
        return self.brands_of.get((self.seen.platform, account), frozenset())


def accounts_of(seen: UseSeen) -> frozenset[Account]:
    """The accounts and partner accounts of all versions."""
    return frozenset(
        (seen.platform, account)
        for version in seen.versions
        for account in (version.account, *version.partner_accounts)
    )


def choose(use: Use, licenses: Sequence[LicenseState], consents: Sequence[ConsentState]) -> LicenseState | None:
    """The license with one of the brands that the use fails in the fewest dimensions."""
    # Ties go to the lowest id, so a replay gives the same answer.
    with_brand = [license for license in licenses if license.brand_id in use.brand_ids]
    return min(
        with_brand,
        key=lambda license: (len(failed_dimensions(use, license, consents)), license.license_id),
        default=None,
    )


def judge(use: Use, license: LicenseState | None, consents: Sequence[ConsentState]) -> Verdict:
    """A use is licensed when the license chosen for it fails in no dimension."""
    if use.is_native_repost:
        return NoUse()
    if license is None:
        return Unlicensed((_why_no_license(use),))
    version = version_in_force(license, use.seen.started_at)
    failures = failed_dimensions(use, license, consents)
    if version is None or failures:
        return OutOfScope(license, version, failures)
    return Licensed(license, version)


def version_in_force(license: LicenseState, moment: datetime) -> LicenseVersion | None:
    """The newest version that had taken effect at this moment."""
    in_force = [version for version in license.versions if version.effective_from <= moment]
    return max(in_force, key=lambda version: version.version, default=None)


def failed_dimensions(use: Use, license: LicenseState, consents: Sequence[ConsentState]) -> tuple[Reason, ...]:
    """One reason per dimension in which the use fails this license; all are judged at the start of the use."""
    version = version_in_force(license, use.seen.started_at)
    found = [
        _consent(use, consents),
        _account(use, license),
        *((_platform(use, version), _territory(use, version)) if version is not None else ()),
        _term(use, license, version),
    ]
    return tuple(reason for reason in found if reason is not None)


def _why_no_license(use: Use) -> Reason:
    if use.brand_ids:
        return Reason(dimension="license", text=f"No license of this twin with {_listed(use.brand_ids)}")
    names = sorted({version.account for version in use.seen.versions})
    return Reason(dimension="account", text=f"{_listed(names)} on {use.seen.platform} belongs to no known brand")


def _consent(use: Use, consents: Sequence[ConsentState]) -> Reason | None:
    start = use.seen.started_at
    granted = [consent for consent in consents if consent.granted_at <= start]
    if any(consent.withdrawn_at is None or consent.withdrawn_at > start for consent in granted):
        return None
    withdrawn = max((consent.withdrawn_at for consent in granted if consent.withdrawn_at), default=None)
    since = f": it was withdrawn at {_time(withdrawn)}" if withdrawn else ""
    return Reason(dimension="consent", text=f"No consent of the talent at {_time(start)}{since}")


def _account(use: Use, license: LicenseState) -> Reason | None:
    foreign = [version for version in use.seen.versions if license.brand_id not in use.brands_in(version)]
    if not foreign:
        return None
    names = _listed(sorted({version.account for version in foreign}))
    text = f"{names} published {_shown(foreign[0])} without {license.brand_id}, the brand of the license"
    return Reason(dimension="account", text=text, media_digest=_media(foreign[0]))


def _platform(use: Use, version: LicenseVersion) -> Reason | None:
    allowed = version.scope.platforms
    if allowed is None or use.seen.platform in allowed:
        return None
    text = f"Published on {use.seen.platform}; the license covers {_listed(allowed)}"
    return Reason(dimension="platform", text=text)


def _territory(use: Use, version: LicenseVersion) -> Reason | None:
    allowed = version.scope.territories
    if allowed is None:
        return None
    beyond = {shown: sorted(set(shown.territories) - set(allowed)) for shown in use.seen.versions}
    failing = [shown for shown, territories in beyond.items() if territories]
    if not failing:
        return None
    names = sorted({name for territories in beyond.values() for name in territories})
    text = f"Shown in {_listed(names)} by {_shown(failing[0])}; the license covers {_listed(allowed)}"
    return Reason(dimension="territory", text=text, media_digest=_media(failing[0]))


def _term(use: Use, license: LicenseState, version: LicenseVersion | None) -> Reason | None:
    start = use.seen.started_at
    problem = None
    if version is None:
        problem = f"the license takes effect at {_time(min(each.effective_from for each in license.versions))}"
    elif license.terminated_at is not None and license.terminated_at <= start:
        problem = f"the license was terminated at {_time(license.terminated_at)}"
    elif not version.scope.valid_from <= start < version.scope.valid_until:
        problem = f"the license covers {_time(version.scope.valid_from)} to {_time(version.scope.valid_until)}"
    return None if problem is None else Reason(dimension="term", text=f"Started at {_time(start)}; {problem}")


def _shown(version: VersionSeen) -> str:
    return f"the version of {_time(version.shown_from)}"


def _media(version: VersionSeen) -> str | None:
    return min((sighting.media_digest for sighting in version.sightings), default=None)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "nowhere"


def _time(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"
