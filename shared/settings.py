"""Settings from the environment, read once at start; a missing or malformed one stops the process with its name."""

import re
import ssl
import sys
from typing import Any, NoReturn, Self

from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, SettingsConfigDict

from shared.setting_types import (
    DatabaseAddress,
    KafkaProtocol,
    KafkaServers,
    ListenHost,
    LogLevel,
    Port,
    SaslMechanism,
    ServiceUrl,
)


class Settings(BaseSettings):
    """The base of every service's settings: frozen, from variables that begin with TWINTALLY_; empty is not set."""

    model_config = SettingsConfigDict(
        env_prefix="TWINTALLY_", frozen=True, extra="ignore", env_ignore_empty=True, allow_inf_nan=False
    )

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


class WebSettings(Settings):
    """What every process that answers HTTP needs."""

    http_host: ListenHost = "127.0.0.1"
    http_port: Port = Field(examples=[8001])
    log_level: LogLevel = Field("INFO", examples=["INFO"])


class KafkaSettings(Settings):
    """How to reach the broker."""

    kafka: KafkaServers = Field(description="bootstrap servers, host:port separated by commas")
    kafka_security_protocol: KafkaProtocol = Field("PLAINTEXT", examples=["SASL_SSL"])
    kafka_ca_file: str | None = Field(None, examples=["/etc/ssl/kafka-ca.pem"])
    kafka_sasl_mechanism: SaslMechanism = Field("SCRAM-SHA-512", examples=["SCRAM-SHA-512"])
    kafka_username: str | None = Field(None, examples=["intake"], validate_default=True)
    kafka_password: SecretStr | None = Field(None, examples=["..."], validate_default=True)

    @field_validator("kafka_username", "kafka_password")
    @classmethod
    def _there_for_sasl(cls, value: str | SecretStr | None, info: ValidationInfo) -> str | SecretStr | None:
        protocol = info.data.get("kafka_security_protocol", "")
        if value is None and protocol.startswith("SASL"):
            raise ValueError(f"must be set when TWINTALLY_KAFKA_SECURITY_PROTOCOL is {protocol}")
        return value

    @field_validator("kafka_ca_file")
    @classmethod
    def _of_certificates(cls, path: str | None) -> str | None:
        try:
            ssl.create_default_context(cafile=path)
        except OSError as error:
            raise ValueError(f"must be a readable file of certificates in PEM form ({error})") from error
        return path


class ServiceSettings(KafkaSettings, WebSettings):
    """What every service with a store needs. Addresses are secrets: they hold passwords."""

    database_worker: DatabaseAddress = Field(examples=["postgresql://intake_worker:...@127.0.0.1:5432/twintally"])
    database_api: DatabaseAddress = Field(examples=["postgresql://intake_api:...@127.0.0.1:5432/twintally"])
    otlp_endpoint: ServiceUrl | None = Field(
        None,
        examples=["http://127.0.0.1:4318"],
        description="an OpenTelemetry collector that takes traces by http/protobuf; not set: nothing is traced",
    )


class StreamSettings(ServiceSettings):
    """What every worker of a stream needs."""

    stalled_after_s: float = Field(
        120.0,
        ge=1,
        examples=[120],
        description="liveness fails when records wait and none was confirmed for so long; longer than any batch takes",
    )


def _refuse(settings: type[Settings], error: ValidationError) -> NoReturn:
    print("The settings are not usable:", file=sys.stderr)
    for item in error.errors(include_url=False):
        name = str(item["loc"][0]) if item["loc"] else "settings"
        field = settings.model_fields.get(name)
        example = (field.examples or ["..."])[0] if field else "..."
        secret = field is None or "SecretStr" in str(field.annotation)
        said = "must be set" if item["type"] == "missing" else item["msg"].removeprefix("Value error, ")
        variable = f"TWINTALLY_{name.upper()}"
        print(f"  {variable}: {said}; got {_got(item, secret)}; example: {variable}={example}", file=sys.stderr)
    raise SystemExit(78)


def _got(item: ErrorDetails, secret: bool) -> str:
    value = item["input"]
    if item["type"] == "missing" or value is None:
        return "nothing"
    # Also an address that should hold no password may hold one.
    return "a value that is not shown" if secret else re.sub(r"[^/,'@]*@", "***@", repr(value))
