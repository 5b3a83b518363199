"""Every knob of royalty."""

from datetime import UTC, tzinfo
from typing import Annotated
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, Field

from shared.settings import StreamSettings


def _known_zone(name: str) -> str:
    try:
        _zone(name)
    except (OSError, ValueError, KeyError) as error:
        raise ValueError("not a time zone of the IANA database on this machine") from error
    return name


def _zone(name: str) -> tzinfo:
    # UTC needs no time zone database, which small images do not have.
    return UTC if name == "UTC" else ZoneInfo(name)


TimeZone = Annotated[str, AfterValidator(_known_zone)]


class RoyaltySettings(StreamSettings):
    """What royalty runs with."""

    royalty_time_zone: TimeZone = Field(
        "UTC", examples=["Europe/Berlin"], description="names the booking periods; used when the first one is opened"
    )
    royalty_first_period: str | None = Field(
        None,
        pattern=r"^2[01][0-9]{2}-(0[1-9]|1[0-2])$",
        examples=["2026-11"],
        description="the first booking period; not set: the month in which royalty first starts",
    )
    batch_max: int = Field(200, ge=1, le=5_000, examples=[200], description="usages booked in one transaction")

    def zone(self) -> tzinfo:
        """The time zone of the calendar."""
        return _zone(self.royalty_time_zone)
