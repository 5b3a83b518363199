"""The contract as files: a JSON Schema per event and one AsyncAPI 3 document, generated from the event classes.

`python -m infra.contract write` writes them to docs/contract; `check` fails when they differ from the classes.
"""

import json
import sys
from pathlib import Path
from typing import Any

from infra.kafka.layout import read_layout
from shared.events import EVENT_CLASSES, Event, StateEvent
from shared.events.base import ATTRIBUTES

FOLDER = Path(__file__).parent.parent / "docs" / "contract"


def schema_of(event: type[Event]) -> dict[str, Any]:
    """The JSON Schema of an event's CloudEvent in structured JSON."""
    data = event.model_json_schema(mode="validation")
    definitions = data.pop("$defs", {})
    attributes = {name: data["properties"].pop(name, None) for name in sorted(ATTRIBUTES)}
    data["required"] = [name for name in data.get("required", []) if name not in ATTRIBUTES]
    required = ["specversion", "id", "source", "type", "subject", "time", "livemode", "data"]
    properties: dict[str, Any] = {
        "specversion": {"const": "1.0"},
        "id": {"type": "string", "format": "uuid", "description": "derived from the cause of the event"},
        "source": {"type": "string"},
        "type": {"const": event.type},
        "subject": {"type": "string", "description": "the message key"},
        "datacontenttype": {"const": "application/json"},
        "time": attributes["occurred_at"],
        "livemode": attributes["livemode"],
        "data": data,
    }
    if issubclass(event, StateEvent):
        properties["revision"] = attributes["revision"]
        required.append("revision")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": event.__name__,
        "description": (event.__doc__ or "").strip(),
        "type": "object",
        "required": required,
        "properties": properties,
        "$defs": definitions,
    }


def asyncapi() -> dict[str, Any]:
    """The AsyncAPI 3 document: one channel per topic, one message per event, who sends and who receives."""
    layout = read_layout()
    channels: dict[str, Any] = {}
    operations: dict[str, Any] = {}
    for name, topic in layout.topics.items():
        events = [event for event in EVENT_CLASSES if event.topic.name == name]
        channel = name.replace(".", "_")
        channels[channel] = {
            "address": name,
            "description": f"Message key: {topic.key}. Cleanup: {topic.cleanup}.",
            "messages": {event.__name__: {"$ref": f"#/components/messages/{event.__name__}"} for event in events},
        }
        for action, services in (("send", (topic.owner,)), ("receive", topic.consumers)):
            for service in services:
                operations[f"{service.replace(' ', '_')}_{action}s_{channel}"] = {
                    "action": action,
                    "channel": {"$ref": f"#/channels/{channel}"},
                    "summary": f"{service} {action}s {name}",
                }
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "Twintally events", "version": "1.0.0", "description": "CloudEvents 1.0 in structured JSON."},
        "defaultContentType": "application/cloudevents+json",
        "channels": channels,
        "operations": operations,
        "components": {
            "messages": {
                event.__name__: {
                    "name": event.type,
                    "title": (event.__doc__ or "").strip().splitlines()[0],
                    "payload": {"$ref": f"./schemas/{event.type}.json"},
                }
                for event in EVENT_CLASSES
            }
        },
    }


def contract_files() -> dict[Path, str]:
    """Every generated file by its path."""
    files = {FOLDER / "schemas" / f"{event.type}.json": _text(schema_of(event)) for event in EVENT_CLASSES}
    return files | {FOLDER / "asyncapi.json": _text(asyncapi())}


def differences() -> list[str]:
    """What is missing, different or left over in docs/contract; empty when all is as generated."""
    wanted = contract_files()
    there = set(FOLDER.rglob("*.json"))
    wrong = [path for path, text in wanted.items() if path not in there or path.read_text("utf-8") != text]
    return sorted(str(path.relative_to(FOLDER)) for path in {*wrong, *(there - set(wanted))})


def main(arguments: list[str]) -> int:
    """The command; exit 1 when `check` finds a difference, 2 when the call is wrong."""
    if arguments == ["write"]:
        for path, text in contract_files().items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8")
        print(f"{len(contract_files())} files written to {FOLDER.name}")
        return 0
    if arguments != ["check"]:
        print("usage: python -m infra.contract write|check", file=sys.stderr)
        return 2
    found = differences()
    for name in found:
        print(f"docs/contract/{name} differs from the event classes; run: make contract", file=sys.stderr)
    return 1 if found else 0


def _text(document: dict[str, Any]) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
