"""Every knob of the registry."""

from pydantic import Field

from shared.setting_types import StoreAddress
from shared.settings import ServiceSettings


class RegistrySettings(ServiceSettings):
    """What the registry runs with."""

    store: StoreAddress = Field(description="where the images of references lie")
    image_bytes_max: int = Field(25_000_000, ge=1024, le=25_000_000, examples=[25_000_000])
    body_bytes_max: int = Field(256 * 1024, ge=1024, examples=[262144], description="of everything but an image")
    fingerprints_at_once: int = Field(2, ge=1, le=64, examples=[2])
