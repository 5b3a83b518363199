"""The check for breaking changes must see them; one that sees nothing would always pass."""

import copy
from typing import Any

import pytest

from infra.contract import schema_of
from shared.events import EVENT_CLASSES, Event, UsageState
from tests.contract.compatibility import breaking_changes

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
NUMBER: Schema = {"type": "integer"}
NOTHING: Schema = {"type": "null"}
PAIR: Schema = {"type": "array", "prefixItems": [TEXT, NUMBER]}
CHOICE: Schema = {"anyOf": [TEXT, NOTHING]}


def record(field: Schema, **more: Any) -> Schema:
    """A schema with one field, `f`."""
    return {"type": "object", "properties": {"f": field, "g": TEXT}, "required": ["f"], **more}


def reference(name: str, definition: Schema, **beside: Any) -> Schema:
    return record({"$ref": f"#/$defs/{name}", **beside}, **{"$defs": {name: definition}})


HARMLESS = {
    "a new optional field": (record(TEXT), {**record(TEXT), "properties": {"f": TEXT, "g": TEXT, "h": NUMBER}}),
    "other words": (
        record({**TEXT, "title": "F", "description": "old", "examples": ["a"]}),
        record({**TEXT, "title": "Ff", "description": "new", "examples": ["b"]}),
    ),
    "values in another order": (record({"enum": ["a", "b"]}), record({"enum": ["b", "a"]})),
    "required in another order": (record(TEXT, required=["f", "g"]), record(TEXT, required=["g", "f"])),
    "a type with another name": (reference("Old", NUMBER), reference("New", NUMBER)),
    "a type written out": (reference("Old", NUMBER), record(NUMBER)),
    "a field named like a keyword": (
        {"type": "object", "properties": {}},
        {"type": "object", "properties": {"default": TEXT, "enum": TEXT}},
    ),
}

BREAKING = {
    "a field removed": (record(TEXT), {**record(TEXT), "properties": {"f": TEXT}}, "event.g: removed"),
    "a field newly required": (record(TEXT), record(TEXT, required=["f", "g"]), "event.g: newly required"),
    "a field no longer required": (record(TEXT), record(TEXT, required=[]), "event.f: no longer always there"),
    "another type": (record(TEXT), record(NUMBER), "event.f: type"),
    "one more type": (record(TEXT), record({"type": ["string", "null"]}), "event.f: type"),
    "a type gone": (record({"title": "F", **TEXT}), record({"title": "F"}), "event.f: type"),
    "another constant": (record({"const": "v1"}), record({"const": "v2"}), "event.f: const"),
    "a constant of another type": (record({"const": 1}), record({"const": True}), "event.f: const"),
    "fewer values": (record({"enum": ["a", "b"]}), record({"enum": ["a"]}), "event.f: enum"),
    "more values": (record({"enum": ["a"]}), record({"enum": ["a", "b"]}), "event.f: enum"),
    "any value": (record({**TEXT, "enum": ["a"]}), record(TEXT), "event.f: enum"),
    **{
        f"{name} {what}": (record({**NUMBER, name: before}), record({**NUMBER, name: after}), f"event.f: {name}")
        for name in ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf")
        for what, before, after in (("raised", 1, 2), ("lowered", 2, 1))
    },
    **{
        f"{name} {what}": (record({**TEXT, name: before}), record({**TEXT, name: after}), f"event.f: {name}")
        for name in ("minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties")
        for what, before, after in (("raised", 1, 2), ("lowered", 2, 1))
    },
    "a limit that was not": (record(TEXT), record({**TEXT, "maxLength": 9}), "event.f: maxLength changed from nothing"),
    "a limit that is no more": (record({**TEXT, "maxLength": 9}), record(TEXT), "event.f: maxLength"),
    "another pattern": (record({**TEXT, "pattern": "^a$"}), record({**TEXT, "pattern": "^b$"}), "event.f: pattern"),
    "a pattern that is no more": (record({**TEXT, "pattern": "^a$"}), record(TEXT), "event.f: pattern"),
    "another format": (record({**TEXT, "format": "uuid"}), record({**TEXT, "format": "date"}), "event.f: format"),
    "items must differ": (record({"type": "array"}), record({"type": "array", "uniqueItems": True}), "event.f: unique"),
    "another default": (record({**TEXT, "default": "a"}), record({**TEXT, "default": "b"}), "event.f: default"),
    "a default of nothing": (record(TEXT), record({**TEXT, "default": None}), "event.f: default changed from nothing"),
    "a default gone": (record({**TEXT, "default": None}), record(TEXT), "event.f: default changed from None"),
    "other items": (record({"items": TEXT}), record({"items": NUMBER}), "event.f.<items>: type"),
    "no items any more": (record(PAIR), record({**PAIR, "items": False}), "event.f.<items>: changed from True"),
    "a place of a tuple changed": (
        record(PAIR),
        record({**PAIR, "prefixItems": [TEXT, TEXT]}),
        "<prefixItems 1>: type",
    ),
    "a place of a tuple more": (record(PAIR), record({**PAIR, "prefixItems": [TEXT, NUMBER, TEXT]}), "<prefixItems 2>"),
    "a place of a tuple less": (record(PAIR), record({**PAIR, "prefixItems": [TEXT]}), "<prefixItems 1>"),
    "closed to new fields": (record(TEXT), record(TEXT, additionalProperties=False), "event.<additionalProperties>"),
    "open to new fields": (record(TEXT, additionalProperties=False), record(TEXT), "event.<additionalProperties>"),
    "a field added where none may be": (
        {"properties": {}, "additionalProperties": False},
        {"properties": {"f": TEXT}, "additionalProperties": False},
        "event.f: added",
    ),
    "other values of a map": (
        record({"additionalProperties": TEXT}),
        record({"additionalProperties": NUMBER}),
        "event.f.<additionalProperties>: type",
    ),
    **{
        f"{kind} {what}": (record({kind: [TEXT, NOTHING]}), record({kind: after}), f"event.f.<{kind} {place}>")
        for kind in ("anyOf", "oneOf", "allOf")
        for what, after, place in (
            ("with one more", [TEXT, NOTHING, NUMBER], 2),
            ("with one less", [TEXT], 1),
            ("with another", [NUMBER, NOTHING], 0),
        )
    },
    "a choice that was none": (record(TEXT), record(CHOICE), "event.f.<anyOf 0>"),
    "a choice that is none any more": (record(CHOICE), record(TEXT), "event.f.<anyOf 0>"),
    "a nested type": (reference("T", record(TEXT)), reference("T", record(NUMBER)), "event.f.f: type"),
    "a default beside a reference": (
        reference("T", TEXT, default="a"),
        reference("T", TEXT, default="b"),
        "event.f: default",
    ),
    "a type that holds itself": (
        reference("T", record({"$ref": "#/$defs/T"})),
        reference("T", record({"$ref": "#/$defs/T"}, required=[])),
        "event.f.f: no longer",
    ),
    "a keyword that nobody foresaw": (record(TEXT), record({**TEXT, "if": {"const": "a"}}), "event.f: if"),
}


@pytest.mark.parametrize(("old", "new"), HARMLESS.values(), ids=HARMLESS.keys())
def test_growth_breaks_nothing(old: Schema, new: Schema) -> None:
    assert breaking_changes(old, new) == []


@pytest.mark.parametrize(("old", "new", "said"), BREAKING.values(), ids=BREAKING.keys())
def test_a_breaking_change_is_seen_and_its_place_is_named(old: Schema, new: Schema, said: str) -> None:
    found = breaking_changes(old, new)
    assert any(said in change for change in found), found


@pytest.mark.parametrize("event", EVENT_CLASSES, ids=lambda event: event.__name__)
def test_the_schema_of_today_breaks_nothing_of_itself(event: type[Event]) -> None:
    assert breaking_changes(schema_of(event), schema_of(event)) == []


def test_a_change_deep_inside_a_real_event_is_named_by_its_path() -> None:
    changed = copy.deepcopy(schema_of(UsageState))
    changed["properties"]["data"]["properties"]["status"]["enum"].append("disputed")
    [said] = breaking_changes(schema_of(UsageState), changed)
    assert said.startswith("event.data.status: enum changed from ['active', 'void']")
