"""What may happen between two versions of an event's JSON Schema: words for people, and new optional fields.

Everything else breaks someone. A narrower schema refuses records that are stored; a wider one lets a new writer send
what an old reader refuses; another default gives stored records another meaning. Such a change is a `.v2`.
"""

from itertools import zip_longest
from typing import Any

Schema = dict[str, Any]
Refs = frozenset[tuple[Any, Any]]

WORDS_FOR_PEOPLE = {"$schema", "$defs", "$comment", "title", "description", "examples", "deprecated"}
ONE_SCHEMA = ("items", "additionalProperties", "contains", "propertyNames", "not")
LISTS_OF_SCHEMAS = ("prefixItems", "anyOf", "oneOf", "allOf")
COMPARED_APART = {"$ref", "properties", "required", *ONE_SCHEMA, *LISTS_OF_SCHEMAS}
ABSENT = object()


def breaking_changes(old: Schema, new: Schema) -> list[str]:
    """Each change of `new` that breaks readers or stored records of `old`; empty when events grew by addition."""
    return _Comparison(old.get("$defs", {}), new.get("$defs", {})).compare(old, new, "event", frozenset())


class _Comparison:
    def __init__(self, old_definitions: Schema, new_definitions: Schema) -> None:
        self._old_definitions = old_definitions
        self._new_definitions = new_definitions

    def compare(self, old: Any, new: Any, path: str, seen: Refs) -> list[str]:
        """Each breaking change at `path` and below; `seen` are the references that lead here, for types that nest."""
        if not (isinstance(old, dict) and isinstance(new, dict)):
            return [] if _same(old, new) else [f"{path}: changed from {_told(old)} to {_told(new)}"]
        refs = (old.get("$ref"), new.get("$ref"))
        if any(refs) and refs not in seen:
            old, new = _resolved(old, self._old_definitions), _resolved(new, self._new_definitions)
            return self.compare(old, new, path, seen | {refs})
        found = [
            f"{path}: {name} changed from {_told(old.get(name, ABSENT))} to {_told(new.get(name, ABSENT))}"
            for name in sorted((old.keys() | new.keys()) - WORDS_FOR_PEOPLE - COMPARED_APART)
            if not _same(_in_order(name, old.get(name, ABSENT)), _in_order(name, new.get(name, ABSENT)))
        ]
        return found + self._fields(old, new, path, seen) + self._inner(old, new, path, seen)

    def _fields(self, old: Schema, new: Schema, path: str, seen: Refs) -> list[str]:
        before, after = old.get("properties", {}), new.get("properties", {})
        needed, needed_now = set(old.get("required", [])), set(new.get("required", []))
        found = [f"{path}.{name}: newly required" for name in sorted(needed_now - needed)]
        found += [f"{path}.{name}: no longer always there" for name in sorted(needed - needed_now)]
        if old.get("additionalProperties", True) is not True:
            found += [f"{path}.{name}: added where readers take no new field" for name in sorted(after.keys() - before)]
        for name, inner in before.items():
            place = f"{path}.{name}"
            found += self.compare(inner, after[name], place, seen) if name in after else [f"{place}: removed"]
        return found

    def _inner(self, old: Schema, new: Schema, path: str, seen: Refs) -> list[str]:
        found = []
        for name in ONE_SCHEMA:
            # No word about the rest is the same as `true`.
            found += self.compare(old.get(name, True), new.get(name, True), f"{path}.<{name}>", seen)
        for name in LISTS_OF_SCHEMAS:
            pairs = zip_longest(old.get(name, ()), new.get(name, ()), fillvalue=ABSENT)
            for number, (inner, other) in enumerate(pairs):
                found += self.compare(inner, other, f"{path}.<{name} {number}>", seen)
        return found


def _resolved(schema: Schema, definitions: Schema) -> Schema:
    """The schema that a reference leads to, with what is said beside the reference, a default for one."""
    if "$ref" not in schema:
        return schema
    beside = {name: value for name, value in schema.items() if name != "$ref"}
    return {**definitions[schema["$ref"].rpartition("/")[2]], **beside}


def _same(old: Any, new: Any) -> bool:
    # In Python True equals 1; in JSON it does not.
    return bool(old == new) and isinstance(old, bool) == isinstance(new, bool)


def _in_order(name: str, value: Any) -> Any:
    return sorted(value, key=repr) if name in ("enum", "type") and isinstance(value, list) else value


def _told(value: Any) -> str:
    return "nothing" if value is ABSENT else repr(value)
