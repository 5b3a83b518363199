"""What came of the demo, as the public interfaces tell it; kept as JSON, so that it can be compared again."""

from datetime import datetime
from pathlib import Path

from pydantic import BaseModel


class UseFound(BaseModel):
    """A use as judging tells it."""

    verdict: str | None
    fails: tuple[str, ...]
    reasons: tuple[str, ...]
    ended: bool


class CaseFound(BaseModel):
    """A case as alerts tells it to its agency."""

    agency: str
    status: str


class AlertFound(BaseModel):
    """An alert as the receiver verified it."""

    agency: str
    sequence: int
    kind: str
    verdict: str


class Outcome(BaseModel):
    """Everything that is compared with the truth. Uses are named `platform/post/twin`."""

    now: datetime
    accepted: int = 0
    duplicates: int = 0
    uses: dict[str, UseFound] = {}
    cases: dict[str, CaseFound] = {}
    alerts: dict[str, list[AlertFound]] = {}
    alerts_refused: int = 0
    statements: dict[str, int] = {}
    ledger_balanced: bool = False
    media: dict[str, int] = {}
    # The published images that matching shows as evidence; null while nobody has asked for them.
    sighted: list[str] | None = None

    @property
    def alerts_delivered(self) -> int:
        """How many different alerts came and verified."""
        return sum(len(told) for told in self.alerts.values())

    def save(self, path: Path) -> None:
        """Keep it."""
        path.write_text(self.model_dump_json(indent=1))

    @classmethod
    def load(cls, path: Path) -> "Outcome":
        """Read what `save` kept."""
        return cls.model_validate_json(path.read_text())
