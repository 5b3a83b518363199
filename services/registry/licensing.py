"""Rate cards, licenses and consents: what was granted, and how it ends."""

from dataclasses import dataclass, replace
from datetime import datetime

from services.registry.domain import Kept, Published
from shared.events import ConsentState, LicenseState, LicenseVersion, RateCard, Split
from shared.values import UtcDatetime


@dataclass(frozen=True, kw_only=True)
class KeptCard(Kept):
    """A rate card that licenses may copy; of one agency, or offered to all when `agency_id` is null."""

    rate_card_id: str
    agency_id: str | None
    name: str
    card: RateCard


@dataclass(frozen=True)
class NotPossible:
    """A change that what is already granted does not allow."""

    reason: str


@dataclass(frozen=True, kw_only=True)
class License(Published):
    """The grant of a twin to a brand. Its versions are only ever added to."""

    license_id: str
    agency_id: str
    talent_id: str
    twin_id: str
    brand_id: str
    versions: tuple[LicenseVersion, ...]
    terminated_at: UtcDatetime | None = None

    def state(self, revision: int) -> LicenseState:
        """All versions, with card and split by value."""
        return LicenseState(
            revision=revision,
            livemode=self.livemode,
            occurred_at=self.changed_at,
            license_id=self.license_id,
            agency_id=self.agency_id,
            talent_id=self.talent_id,
            twin_id=self.twin_id,
            brand_id=self.brand_id,
            versions=self.versions,
            terminated_at=self.terminated_at,
        )

    def with_version(self, version: LicenseVersion, at: datetime) -> "License | NotPossible":
        """The license with one more version, which must be the next in number and not begin before the last one."""
        last = self.versions[-1]
        if version.effective_from < last.effective_from:
            return NotPossible(
                f"effective_from must not be before that of version {last.version}, {_told(last.effective_from)}:"
                " the terms before it stand"
            )
        if self.terminated_at is not None and self.terminated_at <= version.effective_from:
            return NotPossible(f"The license is terminated from {_told(self.terminated_at)} on; grant a new license")
        return replace(self, versions=(*self.versions, version), changed_at=at)

    def terminated(self, moment: datetime | None, at: datetime) -> "License | NotPossible":
        """The license, not covering anything from a moment on (now when none is given)."""
        ends = _end(self.terminated_at, moment, at)
        if isinstance(ends, NotPossible):
            return ends
        return self if ends == self.terminated_at else replace(self, terminated_at=ends, changed_at=at)


@dataclass(frozen=True, kw_only=True)
class Consent(Published):
    """The talent's own permission for a twin."""

    consent_id: str
    talent_id: str
    agency_id: str
    twin_id: str
    granted_at: UtcDatetime
    withdrawn_at: UtcDatetime | None = None

    def state(self, revision: int) -> ConsentState:
        """From when until when it holds."""
        return ConsentState(
            revision=revision,
            livemode=self.livemode,
            occurred_at=self.changed_at,
            consent_id=self.consent_id,
            talent_id=self.talent_id,
            agency_id=self.agency_id,
            twin_id=self.twin_id,
            granted_at=self.granted_at,
            withdrawn_at=self.withdrawn_at,
        )

    def withdrawn(self, moment: datetime | None, at: datetime) -> "Consent | NotPossible":
        """The consent, not holding from a moment on (now when none is given)."""
        ends = _end(self.withdrawn_at, moment, at)
        if isinstance(ends, NotPossible):
            return ends
        if ends < self.granted_at:
            return NotPossible(f"withdrawn_at must not be before granted_at, {_told(self.granted_at)}")
        return self if ends == self.withdrawn_at else replace(self, withdrawn_at=ends, changed_at=at)


def _end(known: datetime | None, wanted: datetime | None, now: datetime) -> datetime | NotPossible:
    # Without a wanted moment a repeat confirms the end that is known, so that twice equals once.
    if known is None:
        return wanted or now
    if wanted is None:
        return min(known, now)
    if wanted > known:
        return NotPossible(f"It ends at {_told(known)} already; an end can be brought forward, never put off")
    return wanted


def strangers_in(split: Split, *, talent_id: str, agency_id: str) -> list[str]:
    """The payees of a split who are neither the twin's talent nor its agency."""
    return [share.payee for share in split.shares if share.payee not in (f"talent:{talent_id}", f"agency:{agency_id}")]


def _told(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")
