"""Dead letters: which are the same, what an operator sees of them, and what may be worked in their place."""

import gzip
import json
import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from rich.console import Console

from infra.dlq.letters import Folding, Kept, Letter, named, wanted, why_not_instead
from infra.dlq.showing import ROWS_MAX, VALUE_CHARACTERS_MAX, as_json, details, plain, table_of
from shared.events import Unreadable
from shared.kafka import Record
from shared.kafka.batches import Patience, work_batch
from shared.kafka.deadletters import error_text, fitting, letter_id, resolution_headers, unpacked
from shared.kafka.lookup import learning
from shared.kafka.producer import MAX_RECORD_BYTES, NotSent
from shared.kafka.records import key_text
from tests.builders import NOON, a_measured, a_usage


def a_kept(offset: int = 0, **changes: Any) -> Kept:
    headers = {
        "consumer": b"royalty",
        "source": b"usage.v1/3/7",
        "error": b"Unreadable: value: not JSON",
        "attempts": b"1",
        "code_version": b"1",
        **changes.pop("headers", {}),
    }
    given = {"topic": "usage.v1.dlq", "partition": 0, "offset": offset, "at": NOON, "key": b"use-1", "size": 1}
    return Kept(**{**given, **changes}, headers=headers)


def a_letter(*copies: Kept) -> Letter:
    [letter] = letters_of(*copies or (a_kept(),))
    return letter


def letters_of(*kept: Kept) -> list[Letter]:
    folding = Folding()
    for each in kept:
        folding.add(each)
    return folding.letters()


def resolved(letter: Letter, resolution: Any = "replayed") -> Kept:
    headers = dict(resolution_headers(letter.id, resolution, by="anna", at=NOON))
    return Kept("usage.v1.dlq", 0, 99, NOON, letter.kept.key, None, headers)


def test_the_id_of_a_letter_follows_from_the_consumer_and_the_place_of_the_record() -> None:
    assert letter_id("royalty", "usage.v1", 3, 7) == "17bc343f-2ca1-56c1-add6-b45f13172fa6"
    assert letter_id("royalty.access", "usage.v1", 3, 7) != letter_id("royalty", "usage.v1", 3, 7)


def test_the_same_failure_kept_twice_is_one_letter_with_the_newest_error() -> None:
    later = a_kept(1, at=NOON + timedelta(hours=1), headers={"error": b"newer"})
    letter = a_letter(a_kept(), later)
    assert (letter.copies, letter.first_at, letter.kept) == (2, NOON, later)


def test_the_same_record_is_a_letter_of_each_consumer_that_failed() -> None:
    assert len(letters_of(a_kept(), a_kept(1, headers={"consumer": b"royalty.access"}))) == 2


def test_a_resolved_letter_is_hidden_also_when_it_is_kept_again_afterwards() -> None:
    letter = a_letter()
    again = letters_of(a_kept(), resolved(letter), a_kept(5))
    assert wanted(again) == []
    [shown] = wanted(again, resolved_too=True)
    assert (shown.state, shown.copies) == ("replayed", 2)


def test_a_letter_is_found_by_topic_by_consumer_and_by_service() -> None:
    letters = letters_of(a_kept(), a_kept(1, headers={"consumer": b"judging.lookups", "source": b"licenses.v1/0/1"}))
    assert [each.consumer for each in wanted(letters, topic="usage.v1")] == ["royalty"]
    assert [each.consumer for each in wanted(letters, consumer="judging.lookups")] == ["judging.lookups"]
    assert [each.consumer for each in wanted(letters, consumer="judging")] == ["judging.lookups"]


def test_a_letter_is_named_by_the_beginning_of_its_id_when_that_fits_no_other() -> None:
    letters = letters_of(*(a_kept(at, headers={"source": f"usage.v1/0/{at}".encode()}) for at in range(40)))
    assert named(letters, letters[7].short.upper()) is letters[7]
    with pytest.raises(ValueError, match="no dead letter 'zz'"):
        named(letters, "zz")
    common = next(sign for sign in "0123456789abcdef" if sum(each.id.startswith(sign) for each in letters) > 1)
    with pytest.raises(ValueError, match="begins"):
        named(letters, common)


@pytest.mark.parametrize("source", [b"", b"usage.v1", b"usage.v1/x/1", b"/0/1", b"\xff/0/1x", b"usage.v1/0/1/2"])
def test_a_record_that_no_consumer_of_ours_wrote_is_shown_with_its_own_place(source: bytes) -> None:
    letter = a_letter(a_kept(4, headers={"source": source}))
    assert str(letter.source) == "usage.v1.dlq/0/4"


def test_nothing_that_comes_from_outside_moves_the_cursor_or_is_taken_for_markup() -> None:
    evil = "\x1b[2J\x07[red]x[/red]\u202eabc\x9b31m\nnext\ud800"
    letter = a_letter(
        a_kept(key=evil.encode("utf-8", "replace"), headers={"error": evil.encode("utf-8", "surrogatepass")})
    )
    console = Console(width=400, record=True, force_terminal=True)
    with console.capture() as captured:
        console.print(table_of([letter]))
    told = [*details(letter, json.dumps({"\x1b[2J": evil}, ensure_ascii=False).encode("utf-8", "replace"))]
    shown = captured.get() + "\n".join(told)
    for sign in ("\x1b[2J", "\x07", "\u202e", "\x9b"):
        assert sign not in shown
    assert "[red]x[/red]" in shown
    assert not any("\n" in line for line in told)
    assert json.loads(json.dumps(as_json(letter)))["error"].startswith("\x1b")


def test_plain_text_keeps_what_people_read() -> None:
    assert plain("Größe 12 €, 東京") == "Größe 12 €, 東京"


def test_json_is_shown_pretty_other_bytes_as_hex_and_both_within_bounds() -> None:
    letter = a_letter()
    assert '  "a": 1' in list(details(letter, b'{"a":1}'))
    assert "00000000  7b 00 ff" + " " * 41 + "{.." in list(details(letter, b"{\x00\xff"))
    assert list(details(letter, None))[-1] == "value         null"
    for value in (json.dumps(list(range(100_000))).encode(), random.Random(1).randbytes(3_000_000), b"[" * 2_000_000):
        told = "\n".join(details(letter, value))
        assert len(told) < VALUE_CHARACTERS_MAX + 3_000
        assert "--raw FILE writes all bytes" in told
        assert f"{len(value)} bytes" in told


def test_a_storm_of_letters_is_a_bounded_table() -> None:
    letters = letters_of(*(a_kept(at, headers={"source": f"usage.v1/0/{at}".encode()}) for at in range(ROWS_MAX + 5)))
    table = table_of(letters)
    assert (table.row_count, table.caption) == (ROWS_MAX, "and 5 more; narrow them, or --json")


def test_a_repaired_value_must_have_the_message_key_of_the_original() -> None:
    repaired = a_usage(use_id="use-2").encode()
    assert "message key" in str(why_not_instead(a_letter(), b"{", repaired))
    assert why_not_instead(a_letter(a_kept(key=b"use-2")), b"{", repaired) is None


def test_a_repaired_value_must_have_the_event_id_of_an_original_that_tells_one() -> None:
    repaired, original = a_usage(use_id="use-1"), json.loads(a_usage(use_id="use-1").encode())
    del original["data"]["license_id"]
    assert why_not_instead(a_letter(), json.dumps(original).encode(), repaired.encode()) is None
    other = repaired.model_copy(update={"revision": 2}).encode()
    assert "event id" in str(why_not_instead(a_letter(), json.dumps(original).encode(), other))
    fact = a_measured()
    kept = a_kept(key=fact.message_key().encode(), headers={"source": b"posts.v1/0/1"})
    invented = fact.model_copy(update={"impressions": fact.impressions + 1}).encode()
    assert "event id" in str(why_not_instead(a_letter(kept), fact.encode(), invented))


@pytest.mark.parametrize("original", [None, b"", b"\xff", b"[1]", b'{"id": 7}', b"[" * 100_000])
def test_an_original_without_an_event_id_refuses_no_repair(original: bytes | None) -> None:
    assert why_not_instead(a_letter(), original, a_usage(use_id="use-1").encode()) is None


def test_a_repaired_value_that_cannot_be_read_either_is_refused() -> None:
    assert "cannot be read" in str(why_not_instead(a_letter(), b"{", b"{}"))


def test_a_letter_is_kept_as_it_is_packed_when_too_large_and_cut_only_when_even_that_does_not_fit() -> None:
    whole = b"x" * (MAX_RECORD_BYTES - 3)
    assert fitting(b"key", whole) == (b"key", whole, ())
    for key, value in ((b"key", whole + b"x"), (b"key", b"abc" * 5_000_000)):
        kept_key, packed, headers = fitting(key, value)
        assert kept_key == key
        assert len(packed or b"") < 100_000
        assert unpacked(packed, dict(headers)) == value
        assert gzip.decompress(packed or b"") == value
    noise = random.Random(1).randbytes(MAX_RECORD_BYTES + 10)
    key, cut, headers = fitting(b"key", noise)
    assert (key, cut) == (b"key", noise[: MAX_RECORD_BYTES - 3])
    assert dict(headers) == {"cut": f"3/{len(noise)}".encode()}
    key, nothing, headers = fitting(noise, None)
    assert (len(key or b""), nothing, dict(headers)) == (64 * 1024, None, {"cut": f"{len(noise)}/0".encode()})


def test_an_error_fits_into_a_header_whatever_it_quotes() -> None:
    assert error_text(ValueError("\ud800" + "x" * 1_000_000)).encode().startswith(b"ValueError: \\ud800xx")
    assert len(error_text(ValueError("x" * 1_000_000))) == 2_000


def test_a_message_key_is_a_text_of_bounded_length() -> None:
    assert (key_text(None), key_text(b"use-1"), key_text(b"\xff\x00a")) == ("", "use-1", "\\xff\\x00a")
    assert len(key_text(b"\x00" * 100_000)) < 500
    assert key_text(b"k" * 1_000 + b"1") != key_text(b"k" * 1_000 + b"2")


class Letters:
    """Dead letters in a list; `away` lets the first so many fail."""

    def __init__(self, away: int = 0) -> None:
        self.kept: list[Record] = []
        self.away = away

    async def keep(self, record: Record, *, error: BaseException, attempts: int) -> None:
        if self.away:
            self.away -= 1
            raise NotSent("the broker is away")
        self.kept.append(record)


def records(*values: bytes) -> list[Record]:
    return [Record("t", 0, offset, b"k", value) for offset, value in enumerate(values)]


async def test_a_batch_with_poison_is_worked_in_halves_and_in_its_order() -> None:
    worked: list[bytes | None] = []
    tries = 0

    async def effect(batch: Sequence[Record]) -> None:
        nonlocal tries
        tries += 1
        if any(record.value == b"poison" for record in batch):
            raise Unreadable("value: poison")
        worked.extend(record.value for record in batch)

    values = [str(number).encode() for number in range(400)]
    letters = Letters()
    batch = records(*values[:123], b"poison", *values[123:])
    assert await work_batch(batch, effect, letters) == 1
    assert worked == values
    assert letters.kept == [batch[123]]
    assert tries < 25


async def test_a_reader_that_repeats_its_batch_keeps_a_letter_once() -> None:
    away = True

    async def learn(batch: Sequence[Record]) -> None:
        if any(record.value == b"poison" for record in batch):
            raise Unreadable("value: poison")
        if away and len(batch) == 1:
            raise NotSent("something is away")

    letters = Letters()
    learn_all = learning(learn, letters, Patience(passing_fault_attempts=1, first_pause_s=0.0))
    batch = records(b"poison", b"good")
    for _ in range(5):
        with pytest.raises(NotSent):
            await learn_all(batch)
    away = False
    await learn_all(batch)
    assert letters.kept == [batch[0]]


async def test_a_letter_that_could_not_be_kept_is_kept_at_the_next_try() -> None:
    async def learn(batch: Sequence[Record]) -> None:
        raise Unreadable("value: poison")

    letters = Letters(away=1)
    learn_all = learning(learn, letters)
    with pytest.raises(NotSent):
        await learn_all(records(b"poison"))
    await learn_all(records(b"poison"))
    assert len(letters.kept) == 1


def test_the_time_of_a_letter_is_told_in_utc() -> None:
    assert as_json(a_letter(a_kept(at=datetime(2026, 1, 1, tzinfo=UTC))))["last_kept_at"] == "2026-01-01T00:00:00+00:00"
