"""topics.yaml, and the command that makes a cluster agree with it."""

import asyncio
from importlib.resources import files
from typing import Annotated, Literal

import typer
import yaml
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, for_code
from pydantic import Field
from rich.console import Console

from shared.kafka import KafkaAddress, connection
from shared.settings import KafkaSettings
from shared.values import Value

app = typer.Typer(help="The topics of the Kafka cluster.", no_args_is_help=True)
DAY_MS = 24 * 60 * 60 * 1000
Profile = Literal["production", "local"]
Configs = dict[str, int | str]


class Copies(Value):
    """How many brokers hold a partition, and how many must have it before a send is acknowledged."""

    replication_factor: int
    min_insync_replicas: int


class DeadLetterLayout(Value):
    """How every `<topic>.dlq` is laid out."""

    partitions: int
    cleanup: Literal["delete"]
    retention_days: int


class Defaults(Value):
    """What holds for each topic that does not say otherwise."""

    partitions: int
    production: Copies
    local: Copies
    max_message_bytes: int
    dead_letters: DeadLetterLayout


class TopicLayout(Value):
    """One topic of topics.yaml."""

    owner: str
    consumers: tuple[str, ...]
    key: str
    cleanup: Literal["delete", "compact"]
    retention_days: int | Literal["unlimited"] | None = None
    partitions: int | None = None


class Layout(Value):
    """The whole file."""

    defaults: Defaults
    topics: dict[str, TopicLayout] = Field(min_length=1)


def read_layout() -> Layout:
    """The topics as the project lays them out."""
    return Layout.model_validate(yaml.safe_load(files("infra.kafka").joinpath("topics.yaml").read_text("utf-8")))


def wanted_topics(layout: Layout, profile: Profile) -> list[NewTopic]:
    """Each topic and its dead letters, as the admin client takes them."""
    defaults = layout.defaults
    copies: Copies = getattr(defaults, profile)
    common: Configs = {
        "min.insync.replicas": copies.min_insync_replicas,
        "max.message.bytes": defaults.max_message_bytes,
    }
    wanted = []
    for name, topic in layout.topics.items():
        wanted.append(
            NewTopic(
                name,
                topic.partitions or defaults.partitions,
                copies.replication_factor,
                topic_configs=_as_text(common | _cleanup(topic)),
            )
        )
        letters = defaults.dead_letters
        kept: Configs = {"cleanup.policy": "delete", "retention.ms": letters.retention_days * DAY_MS}
        wanted.append(
            NewTopic(
                f"{name}.dlq", letters.partitions, copies.replication_factor, topic_configs=_as_text(common | kept)
            )
        )
    return wanted


async def apply(address: KafkaAddress, profile: Profile) -> tuple[int, int]:
    """Create what is missing and set every topic's configuration; returns (created, already there)."""
    admin = AIOKafkaAdminClient(**connection(address), request_timeout_ms=30_000)
    await admin.start()
    try:
        wanted = wanted_topics(read_layout(), profile)
        there = set(await admin.list_topics())
        missing = [topic for topic in wanted if topic.name not in there]
        if missing:
            _raise_first(await admin.create_topics(missing))
        old = [topic for topic in wanted if topic.name in there]
        if old:
            await admin.alter_configs(
                [ConfigResource(ConfigResourceType.TOPIC, topic.name, topic.topic_configs) for topic in old]
            )
        return len(missing), len(old)
    finally:
        await admin.close()


@app.command("apply")
def apply_command(
    profile: Annotated[str, typer.Option(help="production: 3 copies; local: 1")] = "production",
) -> None:
    """Create the topics of topics.yaml that the cluster lacks, and set the configuration of all."""
    console = Console()
    if profile not in ("production", "local"):
        raise typer.BadParameter("must be production or local")
    try:
        created, there = asyncio.run(apply(KafkaSettings.from_environment(), profile))  # type: ignore[arg-type]
    except (KafkaError, OSError) as error:
        console.print(f"[red]The topics could not be applied:[/] {error}")
        raise typer.Exit(1) from error
    console.print(f"{created} topics created, {there} were there; all agree with topics.yaml")


def _cleanup(topic: TopicLayout) -> Configs:
    if topic.cleanup == "compact":
        return {"cleanup.policy": "compact", "max.compaction.lag.ms": 7 * DAY_MS}
    days = topic.retention_days
    return {"cleanup.policy": "delete", "retention.ms": days * DAY_MS if isinstance(days, int) else -1}


def _as_text(configs: Configs) -> dict[str, str]:
    return {name: str(value) for name, value in configs.items()}


def _raise_first(response: object) -> None:
    for name, code, *rest in response.topic_errors:  # type: ignore[attr-defined]
        error = for_code(code)
        # Two commands at once: the other one was first.
        if code != 0 and error is not TopicAlreadyExistsError:
            raise error(f"{name}: {rest[0] if rest else ''}")
