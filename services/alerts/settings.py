"""Every knob of alerts."""

from pydantic import Field

from shared.addresses import AllowedAddressesText
from shared.setting_types import SecretKeys
from shared.settings import StreamSettings


class AlertsSettings(StreamSettings):
    """What alerts runs with."""

    secret_key: SecretKeys
    alerts_allowed_addresses: AllowedAddressesText = Field(
        "",
        examples=["127.0.0.1:8098"],
        description="address:port pairs that endpoints may have although they are not public; none in production",
    )
    alerts_deadline_s: float = Field(10.0, gt=0, le=60, examples=[10.0], description="for one attempt")
    alerts_concurrency_max: int = Field(50, ge=1, examples=[50], description="attempts under way in this process")
    alerts_endpoint_concurrency_max: int = Field(
        4, ge=1, examples=[4], description="attempts under way to one endpoint, over all processes"
    )
    alerts_secret_overlap_h: int = Field(
        24, ge=0, le=24 * 366, examples=[24], description="how long a rotated secret still signs"
    )
