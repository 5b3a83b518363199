"""How topics are laid out, what may not be changed in a cluster, and who may do what."""

import pytest
from aiokafka.admin import NewTopic
from pydantic import ValidationError
from typer.testing import CliRunner

from infra.kafka.applying import Found, config_changes, misfits
from infra.kafka.layout import Grant, Layout, grants, read_layout, wanted_topics
from infra.kafka.topics import app
from infra.local.services import SERVICES
from shared.kafka.producer import DEAD_LETTER_HEADERS_BYTES_MAX, MAX_RECORD_BYTES

DECLARED = NewTopic("posts.v1", 12, 3, topic_configs={"retention.ms": "10", "cleanup.policy": "delete"})
AS_DECLARED = Found(12, frozenset({3}), {"retention.ms": "10", "cleanup.policy": "delete"})


def test_a_topic_as_declared_needs_nothing() -> None:
    assert list(misfits(DECLARED, AS_DECLARED)) == []
    assert config_changes(DECLARED, AS_DECLARED) == []


@pytest.mark.parametrize("partitions", [6, 24])
def test_another_number_of_partitions_is_refused_with_the_reason_and_a_remedy(partitions: int) -> None:
    [said] = misfits(DECLARED, Found(partitions, frozenset({3}), {}))
    assert said.startswith(f"posts.v1 has {partitions} partitions, declared are 12.")
    assert "breaks their order" in said
    assert "a new name" in said


@pytest.mark.parametrize("copies", [{1}, {1, 3}, {4}])
def test_another_number_of_copies_is_refused_with_a_remedy(copies: set[int]) -> None:
    [said] = misfits(DECLARED, Found(12, frozenset(copies), {}))
    assert f"has {' and '.join(map(str, sorted(copies)))} copies of a partition, declared are 3" in said
    assert "--profile" in said


def test_each_difference_of_the_configuration_is_told_also_what_nobody_declared() -> None:
    found = Found(12, frozenset({3}), {"retention.ms": "9", "retention.bytes": "5"})
    assert config_changes(DECLARED, found) == [
        "posts.v1: cleanup.policy by default -> delete",
        "posts.v1: retention.bytes 5 -> by default",
        "posts.v1: retention.ms 9 -> 10",
    ]


def test_production_keeps_three_copies_with_two_in_sync_and_a_developer_one() -> None:
    for profile, copies, in_sync in (("production", 3, "2"), ("local", 1, "1")):
        for topic in wanted_topics(read_layout(), profile):  # type: ignore[arg-type]
            assert topic.replication_factor == copies
            assert topic.topic_configs["min.insync.replicas"] == in_sync


def test_dead_letters_have_room_for_the_largest_record_and_their_headers() -> None:
    wanted = {topic.name: topic for topic in wanted_topics(read_layout(), "production")}
    for name in read_layout().topics:
        assert wanted[name].topic_configs["max.message.bytes"] == str(MAX_RECORD_BYTES)
        room = str(MAX_RECORD_BYTES + DEAD_LETTER_HEADERS_BYTES_MAX)
        assert wanted[f"{name}.dlq"].topic_configs["max.message.bytes"] == room


def test_a_word_that_the_layout_does_not_know_is_refused() -> None:
    raw = read_layout().model_dump()
    raw["topics"]["posts.v1"]["retention_hours"] = 3
    with pytest.raises(ValidationError, match="retention_hours"):
        Layout.model_validate(raw)


def test_an_owner_may_write_and_a_consumer_may_read_confirm_and_leave_dead_letters() -> None:
    allowed = grants(read_layout())
    assert [grant for grant in allowed if grant.resource.startswith("sightings.v1")] == [
        Grant("exporter", ("Read", "Describe"), "topic", "sightings.v1"),
        Grant("exporter", ("Describe",), "topic", "sightings.v1.dlq"),
        Grant("judging", ("Read", "Describe"), "topic", "sightings.v1"),
        Grant("judging", ("Write", "Describe"), "topic", "sightings.v1.dlq"),
        Grant("matching", ("Write", "Describe"), "topic", "sightings.v1"),
        Grant("operator", ("Read", "Write", "Describe"), "topic", "sightings.v1.dlq"),
    ]
    assert [grant for grant in allowed if grant.kind == "group" and grant.name == "judging"] == [
        Grant("judging", ("Read",), "group", "judging")
    ]


def test_nobody_but_its_owner_may_write_a_topic() -> None:
    layout = read_layout()
    for grant in grants(layout):
        if "Write" in grant.operations and not grant.resource.endswith(".dlq"):
            assert grant.name in layout.owners_of(layout.topics[grant.resource])


def test_a_group_reads_topics_that_it_is_a_consumer_of() -> None:
    layout = read_layout()
    for group, topics in layout.groups.items():
        assert all(group in layout.topics[topic].consumers for topic in topics)


def test_the_exporter_looks_at_every_group_and_all_dead_letters_and_changes_nothing() -> None:
    layout = read_layout()
    own = [grant for grant in grants(layout) if grant.name == "exporter"]
    assert {grant.resource for grant in own if grant.kind == "group"} == set(layout.groups)
    assert {f"{name}.dlq" for name in layout.topics} <= {grant.resource for grant in own}
    assert not any("Write" in grant.operations for grant in own)


def test_the_operator_works_the_dead_letters_of_every_topic_and_touches_nothing_else() -> None:
    own = [grant for grant in grants(read_layout()) if grant.name == "operator"]
    assert {grant.resource for grant in own} == {f"{name}.dlq" for name in read_layout().topics}
    assert {grant.operations for grant in own} == {("Read", "Write", "Describe")}


def test_every_service_with_a_store_may_write_the_clock_and_no_one_else() -> None:
    writers = {
        grant.name for grant in grants(read_layout()) if grant.resource == "clock.v1" and "Write" in grant.operations
    }
    assert writers == {service.name for service in SERVICES.values() if service.has_schema}


def test_the_acls_are_printed_as_commands_one_a_line() -> None:
    done = CliRunner().invoke(app, ["acls", "--command-config", "root.properties"])
    assert done.exit_code == 0
    lines = done.stdout.splitlines()
    assert len(lines) == len(grants(read_layout()))
    begin = (
        'kafka-acls.sh --bootstrap-server "$TWINTALLY_KAFKA" --command-config root.properties --add --allow-principal'
    )
    assert f"{begin} User:intake --operation Write --operation Describe --topic posts.v1" in lines
    assert f"{begin} User:matching --operation Read --operation Describe --topic posts.v1" in lines
    assert f"{begin} User:matching --operation Write --operation Describe --topic posts.v1.dlq" in lines
    assert f"{begin} User:matching --operation Read --group matching" in lines
