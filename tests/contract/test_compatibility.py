"""The check for breaking changes must see them; one that sees nothing would always pass."""

import copy
from typing import Any

import pytest

from infra.contract import schema_of
from shared.events import UsageState
from tests.contract.compatibility import breaking_changes


def changed(path: str, **values: Any) -> dict[str, Any]:
    schema = copy.deepcopy(schema_of(UsageState))
    place: Any = schema
    for name in path.split("/"):
        place = place[name]
    for name, value in values.items():
        place.pop(name, None) if value is None else place.update({name: value})
    return schema


def test_the_same_schema_breaks_nothing() -> None:
    assert breaking_changes(schema_of(UsageState), schema_of(UsageState)) == []


def test_a_new_optional_field_breaks_nothing() -> None:
    assert breaking_changes(schema_of(UsageState), changed("properties/data/properties", mood={"type": "string"})) == []


@pytest.mark.parametrize(
    "new",
    [
        changed("properties/data/properties", use_id=None),
        changed("properties/data/properties/use_id", type="integer"),
        changed("properties/data", required=["use_id", "mood"]),
        changed("properties/data/properties/status", enum=["active"]),
        changed("properties/data/properties/license_version", minimum=2),
        changed("properties/type", const="com.twintally.usage.v2"),
        changed("$defs/Money/properties/minor", type="number"),
    ],
    ids=["removed", "retyped", "newly required", "fewer values", "narrower", "renamed", "nested"],
)
def test_a_breaking_change_is_seen(new: dict[str, Any]) -> None:
    assert breaking_changes(schema_of(UsageState), new)
