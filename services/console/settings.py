"""Every knob of the console."""

from datetime import timedelta

from cryptography.fernet import Fernet
from pydantic import Field, SecretStr, field_validator

from shared.settings import Settings

URL = r"^https?://[^/?#\s]+(/[^?#\s]*)?$"


class ConsoleSettings(Settings):
    """What the console runs with: no broker, no database, only the addresses of the services that it asks."""

    url_registry: str = Field(pattern=URL, examples=["http://127.0.0.1:8002"])
    url_matching: str = Field(pattern=URL, examples=["http://127.0.0.1:8003"])
    url_judging: str = Field(pattern=URL, examples=["http://127.0.0.1:8004"])
    url_alerts: str = Field(pattern=URL, examples=["http://127.0.0.1:8005"])
    url_royalty: str = Field(pattern=URL, examples=["http://127.0.0.1:8006"])
    secret_key: SecretStr = Field(
        examples=["a Fernet key: 32 bytes in url-safe base64"], description="seals sessions; several, newest first: a,b"
    )
    http_host: str = Field("127.0.0.1", examples=["127.0.0.1"])
    http_port: int = Field(ge=1, le=65535, examples=[8007])
    log_level: str = Field("INFO", pattern="^(DEBUG|INFO|WARNING|ERROR)$", examples=["INFO"])
    cookie_secure: bool = Field(False, examples=[True], description="true wherever people come over https")
    session_h: float = Field(12.0, gt=0, le=24 * 31, examples=[12], description="how long a sign-in lasts")
    upstream_timeout_s: float = Field(10.0, gt=0, examples=[10.0], description="how long a page waits for a service")

    @field_validator("url_registry", "url_matching", "url_judging", "url_alerts", "url_royalty")
    @classmethod
    def _without_a_slash_at_its_end(cls, url: str) -> str:
        return url.rstrip("/")

    @field_validator("secret_key")
    @classmethod
    def _of_fernet_keys(cls, secret: SecretStr) -> SecretStr:
        for key in secret.get_secret_value().split(","):
            Fernet(key.strip())
        return secret

    @property
    def session(self) -> timedelta:
        """How long a sign-in lasts."""
        return timedelta(hours=self.session_h)

    def addresses(self) -> dict[str, str]:
        """Service name to its address."""
        return {
            "registry": self.url_registry,
            "matching": self.url_matching,
            "judging": self.url_judging,
            "alerts": self.url_alerts,
            "royalty": self.url_royalty,
        }
