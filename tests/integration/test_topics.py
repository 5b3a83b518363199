"""`twintally topics apply` on a real broker: what it makes, changes, refuses and reports."""

import asyncio
import uuid

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import MessageSizeTooLargeError
from typer.testing import CliRunner, Result

from infra.kafka.applying import apply
from infra.kafka.layout import TopicLayout, read_layout, wanted_topics
from infra.kafka.topics import app
from shared.kafka import Record, connection
from shared.kafka.deadletters import KafkaDeadLetters
from shared.kafka.producer import MAX_RECORD_BYTES, NotSent, SteadyProducer
from tests.conftest import Parts
from tests.streams import read_all

COMPACTED = {"cleanup.policy": "compact", "min.insync.replicas": "1"}


def a_topic(name: str = "", *, partitions: int = 2, copies: int = 1, **configs: str) -> NewTopic:
    changed = {key.replace("_", "."): value for key, value in configs.items()}
    return NewTopic(name or f"test-{uuid.uuid4().hex}", partitions, copies, topic_configs=COMPACTED | changed)


def command(stack: Parts, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["apply", *arguments], env={"TWINTALLY_KAFKA": stack.kafka, "COLUMNS": "200"})


async def partitions_of(stack: Parts, topic: str) -> int:
    admin = AIOKafkaAdminClient(**connection(stack.kafka_settings))
    await admin.start()
    try:
        return sum(len(found["partitions"]) for found in await admin.describe_topics() if found["topic"] == topic)
    finally:
        await admin.close()


def test_the_command_changes_nothing_when_all_agrees(stack: Parts) -> None:
    done = command(stack, "--profile", "local")
    assert done.exit_code == 0, done.output
    assert f"0 topics created, {2 * len(read_layout().topics)} were there, 0 settings changed" in done.output


def test_the_command_refuses_the_profile_of_another_cluster(stack: Parts) -> None:
    done = command(stack, "--profile", "production")
    assert done.exit_code == 1
    assert "posts.v1 has 1 copies of a partition, declared are 3" in done.output
    assert "does not agree" in done.output
    assert command(stack, "--profile", "local").output.count("0 settings changed") == 1


def test_a_broker_that_is_away_ends_the_command_with_a_message() -> None:
    done = CliRunner().invoke(app, ["apply"], env={"TWINTALLY_KAFKA": "127.0.0.1:1"})
    assert done.exit_code == 1
    assert "could not be applied" in done.output


async def test_differences_of_the_configuration_are_applied_and_told_once(stack: Parts) -> None:
    first = a_topic(retention_bytes="1000000")
    assert (await apply(stack.kafka_settings, [first])).created == [first.name]
    second = a_topic(first.name, max_message_bytes="2000000")
    outcome = await apply(stack.kafka_settings, [second])
    assert outcome.changed == [
        f"{first.name}: max.message.bytes by default -> 2000000",
        f"{first.name}: retention.bytes 1000000 -> by default",
    ]
    again = await apply(stack.kafka_settings, [second])
    assert (again.created, again.changed, again.problems) == ([], [], [])


async def test_another_number_of_partitions_is_refused_and_nothing_else_is_touched(stack: Parts) -> None:
    fixed, other = a_topic(), a_topic()
    await apply(stack.kafka_settings, [fixed])
    wanted = [a_topic(fixed.name, partitions=4, retention_bytes="5000"), other]
    outcome = await apply(stack.kafka_settings, wanted)
    assert [problem for problem in outcome.problems if f"{fixed.name} has 2 partitions, declared are 4" in problem]
    assert (outcome.created, outcome.changed) == ([], [])
    assert await partitions_of(stack, fixed.name) == 2
    assert await partitions_of(stack, other.name) == 0


async def test_a_configuration_that_the_broker_refuses_is_a_problem_with_its_reason(stack: Parts) -> None:
    sound, spoilt = a_topic(), a_topic()
    await apply(stack.kafka_settings, [sound, spoilt])
    wanted = [a_topic(sound.name, retention_bytes="5000"), a_topic(spoilt.name, min_insync_replicas="0")]
    outcome = await apply(stack.kafka_settings, wanted)
    assert outcome.changed == [f"{sound.name}: retention.bytes by default -> 5000"]
    [said] = outcome.problems
    assert said.startswith(f"{spoilt.name} keeps its configuration: ")
    assert "min.insync.replicas 1 -> 0" in said


async def test_each_topic_that_cannot_be_created_is_named(stack: Parts) -> None:
    sound, crowded, spoilt = a_topic(), a_topic(copies=3), a_topic(cleanup_policy="shred")
    outcome = await apply(stack.kafka_settings, [sound, crowded, spoilt])
    assert outcome.created == [sound.name]
    assert {problem.split()[0] for problem in outcome.problems} == {crowded.name, spoilt.name}
    assert any("--profile" in problem for problem in outcome.problems if crowded.name in problem)


async def test_the_largest_record_that_a_topic_takes_fits_into_its_dead_letters(stack: Parts) -> None:
    name = f"test-{uuid.uuid4().hex}"
    topic = TopicLayout(owner="tests", consumers=(), key="k", cleanup="delete", retention_days=1, partitions=1)
    layout = read_layout().model_copy(update={"topics": {name: topic}})
    outcome = await apply(stack.kafka_settings, wanted_topics(layout, "local"))
    assert outcome.created == [name, f"{name}.dlq"]
    largest = await largest_record(stack, name)
    producer = SteadyProducer(stack.kafka_settings)
    try:
        letters = KafkaDeadLetters(producer, "tests")
        await letters.keep(Record(name, 0, 0, b"k", largest), error=ValueError("€" * 5000), attempts=3)
    finally:
        await producer.stop()
    [letter] = await read_all(stack.kafka_settings, f"{name}.dlq")
    assert letter.value == largest
    assert set(letter.headers) == {"source", "consumer", "error", "attempts", "code_version"}


async def largest_record(stack: Parts, topic: str) -> bytes:
    """The largest value that the broker takes into a topic, under the message key `k`."""
    producer = AIOKafkaProducer(**connection(stack.kafka_settings), max_request_size=2 * MAX_RECORD_BYTES)
    await producer.start()
    try:
        for length in range(MAX_RECORD_BYTES - 60, 0, -1):
            try:
                await producer.send_and_wait(topic, key=b"k", value=bytes(length))
            except MessageSizeTooLargeError:
                continue
            return bytes(length)
    finally:
        await producer.stop()
    raise AssertionError("the broker takes nothing")


async def test_a_record_that_only_dead_letters_would_take_is_refused_and_does_not_stop_the_next(stack: Parts) -> None:
    topic = a_topic(max_message_bytes=str(MAX_RECORD_BYTES), cleanup_policy="delete")
    await apply(stack.kafka_settings, [topic])
    producer = SteadyProducer(stack.kafka_settings)
    try:
        await producer.send(topic.name, key=b"k", value=b"before")
        with pytest.raises(MessageSizeTooLargeError):
            await producer.send(topic.name, key=b"k", value=bytes(MAX_RECORD_BYTES + 1000))
        for value in (b"1", b"2"):
            try:
                await producer.send(topic.name, key=b"k", value=value)
            except NotSent:
                await producer.send(topic.name, key=b"k", value=value)
    finally:
        await producer.stop()
    records = await read_all(stack.kafka_settings, topic.name)
    assert [record.value for record in records] == [b"before", b"1", b"2"]


async def test_two_commands_at_once_agree(stack: Parts) -> None:
    topic = a_topic()
    outcomes = await asyncio.gather(*(apply(stack.kafka_settings, [topic]) for _ in range(3)))
    assert sorted(outcome.created for outcome in outcomes) == [[], [], [topic.name]]
    assert [outcome.problems for outcome in outcomes] == [[], [], []]
