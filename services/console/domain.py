"""What the pages show: words for people, sums of money, order of things."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from services.console.answers import Case, Sighting, Statement, StatementLine, StatementRow
from shared.events import Role

ROLES_WITH_CASES: frozenset[Role] = frozenset({"agency", "operator"})
ROLES_WITH_LEDGER: frozenset[Role] = frozenset({"finance", "operator"})
ROLES_WITH_PAGES: frozenset[Role] = frozenset({"agency", "talent", "brand", "finance", "operator"})

CASE_STATUSES = ("open", "acknowledged", "held", "withdrawn")
LINES_PER_PAGE = 200

WORDS = {
    "out_of_scope": "Out of scope",
    "unlicensed": "Unlicensed",
    "licensed": "Licensed",
    "open": "Open",
    "acknowledged": "Acknowledged",
    "held": "On hold",
    "withdrawn": "Withdrawn",
    "opened": "Opened",
    "changed": "Changed",
    "fee": "Fee",
    "reversal": "Taken back",
    "draft": "Draft",
    "closed": "Closed",
    "pending": "Waiting",
    "delivered": "Delivered",
    "failed": "Failed",
    "cancelled": "Cancelled",
    "payable": "Earned",
    "receivable": "Owed",
}

PLATFORMS = {"tiktok": "TikTok", "youtube": "YouTube", "linkedin": "LinkedIn"}

EXPLAINED = {
    "out_of_scope": "A license with this brand exists, but not for this use.",
    "unlicensed": "No license covers this use.",
    "open": "Nobody has taken this case in hand yet.",
    "acknowledged": "Somebody works on this case.",
    "held": "The case waits for a decision; nobody is alerted meanwhile.",
    "withdrawn": "The use is no longer held to be an infringement.",
}


def in_words(name: str) -> str:
    """A status, verdict or kind for people; an unknown one is shown as it is, readable."""
    return WORDS.get(name) or name.replace("_", " ").capitalize()


def in_full_words(moment: datetime) -> str:
    """A moment for people: `2 Nov 2026, 12:00 UTC`."""
    return f"{moment.day} {moment:%b %Y, %H:%M} UTC"


def platform_in_words(platform: str) -> str:
    """A platform's registered name as people write it."""
    return PLATFORMS.get(platform) or platform.capitalize()


def payee_in_words(payee: str, names: Mapping[str, str]) -> str:
    """`talent:t1` as `Talent Ada`, or with its id where the name is not known."""
    kind, _, party_id = payee.partition(":")
    return f"{kind.capitalize()} {names.get(payee) or shortened(party_id)}" if party_id else payee


def shortened(name: str) -> str:
    """A long id for a table: its beginning; the page of the thing shows all of it."""
    return name if len(name) <= 20 else f"{name[:13]}…"


def percent(score: float) -> str:
    """A score for people, never rounded up to certainty."""
    return f"{int(score * 100)} %"


def local_path(wanted: str) -> str:
    """Where to go after signing in: a path of ours, whatever a stranger wrote into the link."""
    is_ours = wanted.startswith("/") and not wanted.startswith(("//", "/\\")) and wanted.isprintable()
    return wanted if is_ours else "/"


@dataclass(frozen=True)
class Evidence:
    """A published picture beside the reference that was recognised in it."""

    number: int
    sighting: Sighting

    @property
    def region_words(self) -> str:
        """Where in the published picture, for those who do not see the frame."""
        left, top, right, bottom = (round(side) for side in self.sighting.region)
        return f"{right - left} × {bottom - top} pixels, {left} from the left and {top} from the top"


def evidence_of(case: Case) -> list[Evidence]:
    """The pairs of pictures, the surest first."""
    ordered = sorted(case.sightings, key=lambda sighting: (-sighting.score, sighting.sighting_id))
    return [Evidence(number, sighting) for number, sighting in enumerate(ordered, start=1)]


@dataclass(frozen=True)
class LicenseSum:
    """What one version of a license brought in a statement."""

    license_id: str
    license_version: int
    lines: int
    minor: int


@dataclass(frozen=True)
class Sheet:
    """A statement as a page shows it: its sums are over all lines, its lines those of one page."""

    statement: Statement
    lines: Sequence[StatementLine]
    page: int
    pages: int
    fees_minor: int
    taken_back_minor: int
    by_license: Sequence[LicenseSum]
    adds_up: bool

    @property
    def first(self) -> int:
        """The number of the first line shown."""
        return (self.page - 1) * LINES_PER_PAGE + 1

    @property
    def shown_ids(self) -> frozenset[str]:
        """The transactions on this page: only to these can a line point."""
        return frozenset(line.transaction_id for line in self.lines)


def sheet_of(statement: Statement, page: int, *, per_page: int = LINES_PER_PAGE) -> Sheet | None:
    """One page of a statement in the order of the uses; None when it has no such page."""
    # Within a use in the order of booking: what an earlier revision had given is taken back first.
    ordered = sorted(
        statement.lines,
        key=lambda line: (line.started_at, line.use_id, line.usage_revision, line.line != "reversal"),
    )
    pages = max(1, -(-len(ordered) // per_page))
    if not 1 <= page <= pages:
        return None
    taken_back = sum(line.minor for line in ordered if line.corrects)
    total = sum(line.minor for line in ordered)
    return Sheet(
        statement=statement,
        lines=ordered[(page - 1) * per_page : page * per_page],
        page=page,
        pages=pages,
        fees_minor=total - taken_back,
        taken_back_minor=taken_back,
        by_license=_by_license(ordered),
        adds_up=total == statement.total_minor,
    )


def _by_license(lines: Sequence[StatementLine]) -> list[LicenseSum]:
    minors: dict[tuple[str, int], list[int]] = {}
    for line in lines:
        minors.setdefault((line.license_id, line.license_version), []).append(line.minor)
    return [LicenseSum(*license, len(parts), sum(parts)) for license, parts in sorted(minors.items())]


def sums_of(statements: Sequence[StatementRow]) -> list[tuple[str, str, int]]:
    """(kind, currency, minor) over these statements; what is earned and what is owed are never mixed."""
    sums: dict[tuple[str, str], int] = {}
    for row in statements:
        sums[row.kind, row.currency] = sums.get((row.kind, row.currency), 0) + row.total_minor
    return [(kind, currency, minor) for (kind, currency), minor in sorted(sums.items())]
