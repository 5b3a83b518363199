"""Every knob of alerts."""

from cryptography.fernet import Fernet, MultiFernet
from pydantic import Field, SecretStr, field_validator

from shared.addresses import AllowedAddressesText
from shared.settings import ServiceSettings


class AlertsSettings(ServiceSettings):
    """What alerts runs with."""

    secret_key: SecretStr = Field(
        examples=["a Fernet key: 32 bytes in url-safe base64; several by commas, the first encrypts"]
    )
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
    alerts_secret_overlap_h: int = Field(24, ge=0, examples=[24], description="how long a rotated secret still signs")

    @field_validator("secret_key")
    @classmethod
    def _is_a_key(cls, value: SecretStr) -> SecretStr:
        cipher_of(value)
        return value


def cipher_of(keys: SecretStr) -> MultiFernet:
    """The cipher of one or more Fernet keys, separated by commas; ValueError when one is none."""
    return MultiFernet([Fernet(key.strip()) for key in keys.get_secret_value().split(",")])
