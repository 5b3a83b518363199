"""What may not happen between two versions of an event's JSON Schema."""

from typing import Any

Schema = dict[str, Any]


def breaking_changes(old: Schema, new: Schema) -> list[str]:
    """Each change of `new` that breaks readers or stored records of `old`; empty when events grew by addition."""
    return _compare(old, new, old.get("$defs", {}), new.get("$defs", {}), "event", frozenset())


def _compare(
    old: Schema, new: Schema, old_defs: Schema, new_defs: Schema, path: str, open_refs: frozenset[str]
) -> list[str]:
    if "$ref" in old and "$ref" in new:
        if old["$ref"] in open_refs:
            return []
        open_refs |= {old["$ref"]}
    old, new = _resolved(old, old_defs), _resolved(new, new_defs)
    found = [f"{path}: {name} changed from {old.get(name)!r} to {new.get(name)!r}" for name in _narrowed(old, new)]
    found += [f"{path}.{name}: newly required" for name in sorted(_required(new) - _required(old))]
    found += [f"{path}.{name}: no longer always there" for name in sorted(_required(old) - _required(new))]
    for name, inner in old.get("properties", {}).items():
        if name not in new.get("properties", {}):
            found.append(f"{path}.{name}: removed")
        else:
            found += _compare(inner, new["properties"][name], old_defs, new_defs, f"{path}.{name}", open_refs)
    if isinstance(old.get("items"), dict) and isinstance(new.get("items"), dict):
        found += _compare(old["items"], new["items"], old_defs, new_defs, f"{path}[]", open_refs)
    for number, (inner, other) in enumerate(zip(old.get("anyOf", []), new.get("anyOf", []), strict=False)):
        found += _compare(inner, other, old_defs, new_defs, f"{path}|{number}", open_refs)
    return found


def _narrowed(old: Schema, new: Schema) -> list[str]:
    changed = [
        name for name in ("type", "const", "format", "pattern", "contentEncoding") if old.get(name) != new.get(name)
    ]
    if not set(old.get("enum", [])) <= set(new.get("enum", [])):
        changed.append("enum")
    changed += [name for name in ("minimum", "minLength", "minItems") if new.get(name, 0) > old.get(name, 0)]
    limitless = float("inf")
    changed += [
        name for name in ("maximum", "maxLength", "maxItems") if new.get(name, limitless) < old.get(name, limitless)
    ]
    if len(new.get("anyOf", [])) < len(old.get("anyOf", [])):
        changed.append("anyOf")
    return changed


def _required(schema: Schema) -> set[str]:
    return set(schema.get("required", []))


def _resolved(schema: Schema, definitions: Schema) -> Schema:
    reference = schema.get("$ref")
    return definitions[reference.rpartition("/")[2]] if reference else schema
