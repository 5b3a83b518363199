"""Every knob of the console."""

from datetime import timedelta

from pydantic import Field

from shared.setting_types import Port, SecretKeys, ServiceUrl
from shared.settings import WebSettings


class ConsoleSettings(WebSettings):
    """What the console runs with: no broker, no database, only the addresses of the services that it asks."""

    url_registry: ServiceUrl = Field(examples=["http://127.0.0.1:8002"])
    url_matching: ServiceUrl = Field(examples=["http://127.0.0.1:8003"])
    url_judging: ServiceUrl = Field(examples=["http://127.0.0.1:8004"])
    url_alerts: ServiceUrl = Field(examples=["http://127.0.0.1:8005"])
    url_royalty: ServiceUrl = Field(examples=["http://127.0.0.1:8006"])
    secret_key: SecretKeys = Field(description="seals sessions; several, newest first: a,b")
    http_port: Port = Field(examples=[8007])
    cookie_secure: bool = Field(False, examples=[True], description="true wherever people come over https")
    session_h: float = Field(12.0, gt=0, le=24 * 31, examples=[12], description="how long a sign-in lasts")
    upstream_timeout_s: float = Field(10.0, gt=0, examples=[10.0], description="how long a page waits for a service")

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
