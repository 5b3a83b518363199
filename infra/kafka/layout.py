"""topics.yaml as values: which topics there are, how they are laid out, and who may do what with them."""

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from typing import Literal

import yaml
from aiokafka.admin import NewTopic
from pydantic import BaseModel, ConfigDict, Field

DAY_MS = 24 * 60 * 60 * 1000
EVERY_SERVICE = "every service"
OPERATOR = "operator"
EXPORTER = "exporter"
Profile = Literal["production", "local"]
Operation = Literal["Read", "Write", "Describe"]
Configs = dict[str, int | str]


class _Part(BaseModel):
    """A part of the file; a word that it does not know is a typing error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Copies(_Part):
    """How many brokers hold a partition, and how many must have it before a send is acknowledged."""

    replication_factor: int = Field(ge=1)
    min_insync_replicas: int = Field(ge=1)


class DeadLetterLayout(_Part):
    """How every `<topic>.dlq` is laid out; `headers_bytes_max` is the room for what a dead letter adds to a record."""

    partitions: int = Field(ge=1)
    cleanup: Literal["delete"]
    retention_days: int
    headers_bytes_max: int


class Defaults(_Part):
    """What holds for each topic that does not say otherwise."""

    partitions: int = Field(ge=1)
    production: Copies
    local: Copies
    max_message_bytes: int
    dead_letters: DeadLetterLayout


class OwnerAccess(_Part):
    """What the owner of a topic may do with it."""

    topic: tuple[Operation, ...]


class ConsumerAccess(_Part):
    """What a consumer may do with a topic, with its dead letters, and with the consumer group of its own name."""

    topic: tuple[Operation, ...]
    dead_letters: tuple[Operation, ...]
    group: tuple[Operation, ...]


class OperatorAccess(_Part):
    """What whoever works dead letters may do with those of every topic."""

    dead_letters: tuple[Operation, ...]


class Access(_Part):
    """What each part in a topic is allowed."""

    owner: OwnerAccess
    consumer: ConsumerAccess
    operator: OperatorAccess
    exporter: ConsumerAccess


class TopicLayout(_Part):
    """One topic of topics.yaml."""

    owner: str
    consumers: tuple[str, ...]
    key: str
    cleanup: Literal["delete", "compact"]
    retention_days: int | Literal["unlimited"] | None = None
    partitions: int | None = Field(None, ge=1)


class Layout(_Part):
    """The whole file."""

    defaults: Defaults
    access: Access
    groups: dict[str, tuple[str, ...]]
    topics: dict[str, TopicLayout] = Field(min_length=1)

    def owners_of(self, topic: TopicLayout) -> tuple[str, ...]:
        """Who writes a topic; `every service` is each that owns a topic of its own."""
        if topic.owner != EVERY_SERVICE:
            return (topic.owner,)
        return tuple(sorted({other.owner for other in self.topics.values()} - {EVERY_SERVICE}))


@dataclass(frozen=True)
class Grant:
    """What one principal, `User:NAME`, may do with one topic or consumer group."""

    name: str
    operations: tuple[Operation, ...]
    kind: Literal["topic", "group"]
    resource: str


def read_layout() -> Layout:
    """The topics as the project lays them out."""
    return Layout.model_validate(yaml.safe_load(files("infra.kafka").joinpath("topics.yaml").read_text("utf-8")))


def wanted_topics(layout: Layout, profile: Profile) -> list[NewTopic]:
    """Each topic and its dead letters, as the admin client takes them."""
    defaults, letters = layout.defaults, layout.defaults.dead_letters
    copies: Copies = getattr(defaults, profile)

    def laid_out(name: str, partitions: int, message_bytes_max: int, kept: Configs) -> NewTopic:
        configs = {
            "min.insync.replicas": copies.min_insync_replicas,
            "max.message.bytes": message_bytes_max,
            **kept,
        }
        as_text = {key: str(value) for key, value in configs.items()}
        return NewTopic(name, partitions, copies.replication_factor, topic_configs=as_text)

    wanted = []
    for name, topic in layout.topics.items():
        bytes_max = defaults.max_message_bytes
        wanted.append(laid_out(name, topic.partitions or defaults.partitions, bytes_max, _cleanup(topic)))
        # The largest record must fit in here, too, with the headers that say why it came.
        bytes_max += letters.headers_bytes_max
        kept: Configs = {"cleanup.policy": letters.cleanup, "retention.ms": letters.retention_days * DAY_MS}
        wanted.append(laid_out(f"{name}.dlq", letters.partitions, bytes_max, kept))
    return wanted


def grants(layout: Layout) -> list[Grant]:
    """What the cluster must allow, and nothing more, sorted by who it is for."""
    return sorted(set(_grants(layout)), key=lambda grant: (grant.name, grant.kind, grant.resource, grant.operations))


def _grants(layout: Layout) -> Iterator[Grant]:
    consumer = layout.access.consumer
    for name, topic in layout.topics.items():
        for owner in layout.owners_of(topic):
            yield Grant(owner, layout.access.owner.topic, "topic", name)
        yield Grant(OPERATOR, layout.access.operator.dead_letters, "topic", f"{name}.dlq")
        yield Grant(EXPORTER, layout.access.exporter.dead_letters, "topic", f"{name}.dlq")
        for reader in topic.consumers:
            yield Grant(reader, consumer.topic, "topic", name)
            yield Grant(reader, consumer.dead_letters, "topic", f"{name}.dlq")
            yield Grant(reader, consumer.group, "group", reader)
    for group, topics in layout.groups.items():
        yield Grant(EXPORTER, layout.access.exporter.group, "group", group)
        for name in topics:
            yield Grant(EXPORTER, layout.access.exporter.topic, "topic", name)


def _cleanup(topic: TopicLayout) -> Configs:
    if topic.cleanup == "compact":
        return {"cleanup.policy": "compact", "max.compaction.lag.ms": 7 * DAY_MS}
    days = topic.retention_days
    return {"cleanup.policy": "delete", "retention.ms": days * DAY_MS if isinstance(days, int) else -1}
