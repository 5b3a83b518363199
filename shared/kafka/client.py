"""How every client of ours reaches Kafka, and the mend of one fault that all of them share."""

import asyncio
from typing import Any, Protocol

from aiokafka.client import AIOKafkaClient
from aiokafka.helpers import create_ssl_context
from pydantic import SecretStr

METADATA_PAUSE_S = 0.25
# A broker that has just come back may not know a topic yet. The leader of a group then deals its partitions to nobody,
# and deals again only when it has asked anew: after five minutes, if it were left to aiokafka.
METADATA_MAX_AGE_MS = 5_000


class KafkaAddress(Protocol):
    """The part of the settings that names a broker; `shared.settings.KafkaSettings` is one."""

    @property
    def kafka(self) -> str: ...  # noqa: D102
    @property
    def kafka_security_protocol(self) -> str: ...  # noqa: D102
    @property
    def kafka_ca_file(self) -> str | None: ...  # noqa: D102
    @property
    def kafka_sasl_mechanism(self) -> str: ...  # noqa: D102
    @property
    def kafka_username(self) -> str | None: ...  # noqa: D102
    @property
    def kafka_password(self) -> SecretStr | None: ...  # noqa: D102


def connection(address: KafkaAddress) -> dict[str, Any]:
    """The keyword arguments that aiokafka's clients take for this address."""
    protocol = address.kafka_security_protocol
    arguments: dict[str, Any] = {
        "bootstrap_servers": address.kafka.split(","),
        "security_protocol": protocol,
        "metadata_max_age_ms": METADATA_MAX_AGE_MS,
    }
    if protocol.endswith("SSL"):
        arguments["ssl_context"] = create_ssl_context(cafile=address.kafka_ca_file)
    if protocol.startswith("SASL"):
        arguments["sasl_mechanism"] = address.kafka_sasl_mechanism
        arguments["sasl_plain_username"] = address.kafka_username
        arguments["sasl_plain_password"] = address.kafka_password.get_secret_value() if address.kafka_password else None
    return arguments


def be_patient_with_metadata() -> None:
    """Make aiokafka pause between attempts to reach a broker that is away.

    aiokafka 0.14 asks for metadata again without a pause while its only broker is down: a core burns and the broker
    itself comes back slower. The wrapper sleeps after a failed update; calling this twice wraps once.
    """
    original = AIOKafkaClient._metadata_update
    if getattr(original, "is_patient", False):
        return

    async def patient(self: Any, cluster_metadata: Any, topics: Any) -> bool:
        updated: bool = await original(self, cluster_metadata, topics)
        if not updated:
            await asyncio.sleep(max(self._retry_backoff, METADATA_PAUSE_S))
        return updated

    patient.is_patient = True  # type: ignore[attr-defined]
    AIOKafkaClient._metadata_update = patient
