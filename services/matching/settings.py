"""Every knob of matching."""

from pathlib import Path

from pydantic import Field, field_validator

from services.matching.disclosure import Disclosures
from shared.addresses import AllowedAddressesText
from shared.setting_types import StoreAddress
from shared.settings import StreamSettings


class MatchingSettings(StreamSettings):
    """What matching runs with."""

    store: StoreAddress = Field(description="where the evidence lies, and intake's uploads")
    media_allowed_addresses: AllowedAddressesText = Field(
        "", examples=["127.0.0.1:8099"], description="loopback or private address:port pairs that may be fetched from"
    )
    fetch_in_stream_s: float = Field(1.0, gt=0, examples=[1.0])
    fetch_later_s: float = Field(15.0, gt=0, examples=[15.0])
    fetch_attempts_max: int = Field(7, ge=1, examples=[7])
    image_threads: int = Field(2, ge=1, examples=[2])
    query_days: int = Field(
        14, ge=0, examples=[14], description="days that a published image can be found by a later reference; 0: never"
    )
    late_lease_s: float = Field(
        60.0, gt=0, examples=[60.0], description="how long a late search stays with a worker that says nothing more"
    )
    index_folder: str = Field(
        "",
        examples=["/var/cache/twintally/matching"],
        description="where the index is kept between runs; empty: it is built from references.v1 at each start",
    )
    c2pa_trust_anchors: Path | None = Field(
        None,
        examples=["/etc/twintally/c2pa-anchors.pem"],
        description="PEM file of certificates whose Content Credentials are trusted; empty: nobody's are",
    )
    batch_max: int = Field(16, ge=1, le=16, examples=[16])

    @field_validator("c2pa_trust_anchors")
    @classmethod
    def _of_anchors(cls, file: Path | None) -> Path | None:
        Disclosures.trusting(file)
        return file

    @field_validator("index_folder")
    @classmethod
    def _absolute(cls, folder: str) -> str:
        if folder and not Path(folder).is_absolute():
            raise ValueError("must be an absolute path")
        return folder
