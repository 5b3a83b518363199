"""Every knob of intake."""

from pydantic import Field

from shared.setting_types import RedisAddress, SecretKeys, StoreAddress
from shared.settings import ServiceSettings


class IntakeSettings(ServiceSettings):
    """What intake runs with."""

    redis: RedisAddress
    store: StoreAddress = Field(description="where the inbox lies")
    secret_key: SecretKeys
    webhook_bytes_max: int = Field(
        12 * 1024 * 1024, ge=1024, examples=[12582912], description="of one body; base64 makes an image a third larger"
    )
    upload_bytes_max: int = Field(8 * 1024 * 1024, ge=1024, examples=[8388608], description="of one uploaded image")
    body_within_s: float = Field(10.0, gt=0, le=300, examples=[10.0], description="a body that comes slower: 408")
    bodies_max: int = Field(500, ge=1, examples=[500], description="being read at a time, of all senders; more: 503")
    bodies_bytes_max: int = Field(
        256 * 1024 * 1024,
        ge=1024,
        examples=[268435456],
        description="of all bodies in memory at a time, at least webhook_bytes_max; more: 503",
    )
    send_timeout_s: float = Field(8.0, gt=0, examples=[8.0])
    unacknowledged_max: int = Field(5_000, ge=1, examples=[5000], description="more than this in flight: 503")
    platform_requests_max: int = Field(
        200, ge=1, examples=[200], description="of one platform, verified, at a time; more: 429"
    )
    duplicate_mark_days: int = Field(14, ge=1, le=366, examples=[14])
    secret_overlap_h: int = Field(
        24, ge=0, le=24 * 366, examples=[24], description="how long a rotated secret still works"
    )
