"""Settings from the environment, read once at start; a missing or malformed one stops the process with its name."""

import sys
from typing import Any, NoReturn, Self

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """The base of every service's settings: frozen, from variables that begin with TWINTALLY_."""

    model_config = SettingsConfigDict(env_prefix="TWINTALLY_", frozen=True, extra="ignore")

    @classmethod
    def from_environment(cls) -> Self:
        """The settings, or exit 78 (EX_CONFIG) after naming each wrong variable, what it got, and an example."""
        try:
            return cls()
        except ValidationError as error:
            _refuse(cls, error)

    def masked(self) -> dict[str, Any]:
        """Every setting for the start-up log; secrets and addresses with passwords do not show."""
        return {name: str(value) for name, value in self}


class KafkaSettings(Settings):
    """How to reach the broker."""

    kafka: str = Field(examples=["127.0.0.1:9092"], description="bootstrap servers, host:port separated by commas")
    kafka_security_protocol: str = Field(
        "PLAINTEXT", pattern="^(PLAINTEXT|SSL|SASL_PLAINTEXT|SASL_SSL)$", examples=["SASL_SSL"]
    )
    kafka_ca_file: str | None = Field(None, examples=["/etc/ssl/kafka-ca.pem"])
    kafka_sasl_mechanism: str = Field(
        "SCRAM-SHA-512", pattern="^(PLAIN|SCRAM-SHA-256|SCRAM-SHA-512)$", examples=["SCRAM-SHA-512"]
    )
    kafka_username: str | None = Field(None, examples=["intake"])
    kafka_password: SecretStr | None = Field(None, examples=["..."])


class ServiceSettings(KafkaSettings):
    """What every service with a store needs. Addresses are secrets: they hold passwords."""

    database_worker: SecretStr = Field(examples=["postgresql://intake_worker:...@127.0.0.1:5432/twintally"])
    database_api: SecretStr = Field(examples=["postgresql://intake_api:...@127.0.0.1:5432/twintally"])
    http_host: str = Field("127.0.0.1", examples=["127.0.0.1"])
    http_port: int = Field(ge=1, le=65535, examples=[8001])
    log_level: str = Field("INFO", pattern="^(DEBUG|INFO|WARNING|ERROR)$", examples=["INFO"])


def _refuse(settings: type[Settings], error: ValidationError) -> NoReturn:
    print("The settings are not usable:", file=sys.stderr)
    for item in error.errors(include_url=False):
        name = str(item["loc"][0]) if item["loc"] else "settings"
        field = settings.model_fields.get(name)
        example = (field.examples or ["..."])[0] if field else "..."
        secret = field is not None and "SecretStr" in str(field.annotation)
        got = (
            "nothing"
            if item["type"] == "missing"
            else "a value that is not shown"
            if secret
            else repr(item.get("input"))
        )
        variable = f"TWINTALLY_{name.upper()}"
        print(f"  {variable}: {item['msg']}; got {got}; example: {variable}={example}", file=sys.stderr)
    raise SystemExit(78)
