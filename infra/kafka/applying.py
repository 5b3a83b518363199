"""Makes a cluster agree with the layout: creates what lacks, sets configurations, refuses what it must not change."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import InvalidReplicationFactorError, TopicAlreadyExistsError, for_code

from shared.kafka import KafkaAddress, connection

# Kafka's ConfigSource: a value that was set on this very topic.
SET_ON_THE_TOPIC = 1
SHOWN_WITHIN_S = 30.0


@dataclass(frozen=True)
class Found:
    """A topic as the cluster has it; `copies` are the replication factors of its partitions."""

    partitions: int
    copies: frozenset[int]
    configs: Mapping[str, str]


@dataclass
class Outcome:
    """What was done, and what could not be."""

    created: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def misfits(wanted: NewTopic, found: Found) -> Iterator[str]:
    """What no command of ours may change, each with its remedy."""
    if found.partitions != wanted.num_partitions:
        yield (
            f"{wanted.name} has {found.partitions} partitions, declared are {wanted.num_partitions}. They are fixed:"
            " another number sends the message keys to other partitions and breaks their order. Correct topics.yaml,"
            " or move the records to a topic of a new name."
        )
    if found.copies != {wanted.replication_factor}:
        copies = " and ".join(map(str, sorted(found.copies)))
        yield (
            f"{wanted.name} has {copies} copies of a partition, declared are {wanted.replication_factor}."
            " Choose the --profile of this cluster, or move the partitions with kafka-reassign-partitions.sh."
        )


def config_changes(wanted: NewTopic, found: Found) -> list[str]:
    """Each difference of a topic's own configuration, for people; what is not declared goes to its default."""
    names = sorted(wanted.topic_configs.keys() | found.configs.keys())
    return [
        f"{wanted.name}: {name} {found.configs.get(name, 'by default')}"
        f" -> {wanted.topic_configs.get(name, 'by default')}"
        for name in names
        if found.configs.get(name) != wanted.topic_configs.get(name)
    ]


async def apply(address: KafkaAddress, wanted: Sequence[NewTopic]) -> Outcome:
    """Make the cluster agree. With a topic that does not fit, nothing at all is changed."""
    admin = AIOKafkaAdminClient(**connection(address), request_timeout_ms=30_000)
    await admin.start()
    try:
        there = await _found(admin, {topic.name for topic in wanted})
        outcome = Outcome(problems=_problems(wanted, there))
        if outcome.problems:
            return outcome
        existing = await _create(admin, [topic for topic in wanted if topic.name not in there], outcome)
        # Also those that another command made a moment ago must fit.
        there = await _shown(admin, {*there, *existing, *outcome.created})
        outcome.problems += _problems(wanted, there)
        fitting = [topic for topic in wanted if topic.name in there and not list(misfits(topic, there[topic.name]))]
        await _configure(admin, fitting, there, outcome)
        return outcome
    finally:
        await admin.close()


def _problems(wanted: Sequence[NewTopic], there: Mapping[str, Found]) -> list[str]:
    return [problem for topic in wanted if topic.name in there for problem in misfits(topic, there[topic.name])]


async def _shown(admin: Any, names: set[str]) -> dict[str, Found]:
    """The topics, once the broker shows all of them: it takes a moment after they were made."""
    async with asyncio.timeout(SHOWN_WITHIN_S):
        while True:
            found = await _found(admin, names)
            if found.keys() == names:
                return found
            await asyncio.sleep(0.1)


async def _found(admin: Any, names: set[str]) -> dict[str, Found]:
    known = [topic for topic in await admin.describe_topics() if topic["topic"] in names]
    if not known:
        return {}
    configs: dict[str, dict[str, str]] = {}
    resources = [ConfigResource(ConfigResourceType.TOPIC, topic["topic"]) for topic in known]
    for response in await admin.describe_configs(resources):
        for resource in response.to_object()["resources"]:
            if resource["error_code"]:
                raise for_code(resource["error_code"])(f"{resource['resource_name']}: {resource['error_message']}")
            configs[resource["resource_name"]] = {
                entry["config_names"]: entry["config_value"]
                for entry in resource["config_entries"]
                if entry["config_source"] == SET_ON_THE_TOPIC
            }
    return {
        topic["topic"]: Found(
            len(topic["partitions"]),
            frozenset(len(partition["replicas"]) for partition in topic["partitions"]),
            configs[topic["topic"]],
        )
        for topic in known
    }


async def _create(admin: Any, missing: list[NewTopic], outcome: Outcome) -> list[str]:
    """Create topics; returns the names of those that were there after all."""
    existing: list[str] = []
    if not missing:
        return existing
    for name, code, *rest in (await admin.create_topics(missing)).topic_errors:
        error = for_code(code)
        if code == 0:
            outcome.created.append(name)
        elif error is TopicAlreadyExistsError:
            existing.append(name)
        else:
            remedy = " Choose the --profile of this cluster." if error is InvalidReplicationFactorError else ""
            outcome.problems.append(f"{name} was not created: {(rest or [None])[0] or error.__name__}{remedy}")
    return existing


async def _configure(admin: Any, topics: list[NewTopic], there: Mapping[str, Found], outcome: Outcome) -> None:
    changes = {topic.name: config_changes(topic, there[topic.name]) for topic in topics}
    changed = [topic for topic in topics if changes[topic.name]]
    if not changed:
        return
    # This request sets the whole configuration of a topic, so all of it is sent.
    resources = [ConfigResource(ConfigResourceType.TOPIC, topic.name, topic.topic_configs) for topic in changed]
    for response in await admin.alter_configs(resources):
        for resource in response.to_object()["resources"]:
            name = resource["resource_name"]
            if resource["error_code"] == 0:
                outcome.changed += changes[name]
            else:
                why = resource["error_message"] or for_code(resource["error_code"]).__name__
                outcome.problems.append(f"{name} keeps its configuration: {why} (wanted: {'; '.join(changes[name])})")
