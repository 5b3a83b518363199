"""Dead letters on a terminal. What they hold comes from outside: no control character of it gets through."""

import json
import unicodedata
from collections.abc import Iterator, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from infra.dlq.letters import Letter

VALUE_CHARACTERS_MAX = 8_000
HEX_BYTES_MAX = 512
ROWS_MAX = 200
CELL_CHARACTERS_MAX = 100
# Control, format (they turn the direction of a line), surrogates, line and paragraph separators.
UNSHOWN = ("Cc", "Cf", "Cs", "Zl", "Zp")


def plain(text: str) -> str:
    """Text that does nothing to a terminal: what is no visible character shows as its escape."""
    return "".join(
        sign.encode("unicode_escape").decode() if unicodedata.category(sign) in UNSHOWN else sign for sign in text
    )


def table_of(letters: Sequence[Letter]) -> Table:
    """The letters, one a row, at most ROWS_MAX; their state only where one is resolved."""
    left_out = len(letters) - ROWS_MAX
    caption = f"and {left_out} more; narrow them, or --json" if left_out > 0 else None
    table = Table(title="Dead letters", caption=caption, show_lines=True)
    table.add_column("Id", no_wrap=True)
    table.add_column("Kept", max_width=10)
    for name in ("Consumer, source", "Message key", "Error"):
        table.add_column(name, overflow="fold")
    tells_state = any(letter.resolved for letter in letters)
    if tells_state:
        table.add_column("State")
    for letter in letters[:ROWS_MAX]:
        kept = f"{letter.kept.at:%Y-%m-%d %H:%M:%S}" + (f" {letter.copies} times" if letter.copies > 1 else "")
        place = Text.assemble(_cell(letter.consumer), "\n", _cell(str(letter.source)))
        row: list[str | Text] = [letter.short, kept, place, _cell(letter.message_key), _cell(letter.kept.text("error"))]
        table.add_row(*row, *([_cell(letter.state)] if tells_state else ()))
    return table


def as_json(letter: Letter) -> dict[str, Any]:
    """Everything but the bytes."""
    kept, resolved = letter.kept, letter.resolved
    return {
        "id": letter.id,
        "consumer": letter.consumer,
        "topic": letter.source.topic,
        "partition": letter.source.partition,
        "offset": letter.source.offset,
        "message_key": letter.message_key,
        "bytes": kept.size,
        "error": kept.text("error"),
        "attempts": kept.text("attempts"),
        "code_version": kept.text("code_version"),
        "first_kept_at": letter.first_at.isoformat(),
        "last_kept_at": kept.at.isoformat(),
        "copies": letter.copies,
        "state": letter.state,
        "resolved_by": resolved.by if resolved else None,
        "resolved_at": resolved.at if resolved else None,
    }


def details(letter: Letter, value: bytes | None) -> Iterator[str]:
    """A letter line by line: what failed, where, why, and what it holds."""
    kept = letter.kept
    yield f"dead letter   {letter.id}"
    yield f"consumer      {plain(letter.consumer)}"
    yield f"source        {plain(str(letter.source))}"
    yield f"message key   {plain(letter.message_key) or 'none'}"
    yield f"error         {plain(kept.text('error'))}"
    again = f", last {kept.at.isoformat()}, {letter.copies} times" if letter.copies > 1 else ""
    yield f"kept          {letter.first_at.isoformat()}{again}"
    resolved = letter.resolved
    yield f"state         {plain(f'{letter.state} by {resolved.by}, {resolved.at}' if resolved else letter.state)}"
    for name in sorted(kept.headers.keys() - {"consumer", "source", "error"}):
        yield f"header        {plain(name)}: {plain(kept.text(name))}"
    if "cut" in kept.headers:
        yield "value         cut: it was too large for the dead letters; it lies whole at its source"
    yield from _value(value)


def _value(value: bytes | None) -> Iterator[str]:
    if value is None:
        yield "value         null"
        return
    yield f"value         {len(value)} bytes"
    pretty = _pretty(value)
    if pretty is None:
        yield from hex_lines(value[:HEX_BYTES_MAX])
        shown, size, unit = HEX_BYTES_MAX, len(value), "bytes"
    else:
        yield from map(plain, pretty[:VALUE_CHARACTERS_MAX].split("\n"))
        shown, size, unit = VALUE_CHARACTERS_MAX, len(pretty), "characters"
    if size > shown:
        yield f"... {size - shown} more {unit}; --raw FILE writes all bytes"


def _pretty(value: bytes) -> str | None:
    try:
        return json.dumps(json.loads(value), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        return None


def hex_lines(data: bytes) -> Iterator[str]:
    """Bytes as hex and as text, 16 a line."""
    for start in range(0, len(data), 16):
        row = data[start : start + 16]
        text = "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in row)
        yield f"{start:08x}  {row.hex(' '):<47}  {text}"


def _cell(text: str) -> Text:
    shown = plain(text)
    return Text(shown if len(shown) <= CELL_CHARACTERS_MAX else f"{shown[:CELL_CHARACTERS_MAX]}...")
