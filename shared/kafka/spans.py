"""Spans around records, by OpenTelemetry's conventions for messaging: one for each that is worked, or sent by hand."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

from opentelemetry.trace import Span, SpanKind

from shared.kafka.records import Record, key_text
from shared.tracing import begun, begun_after, carried, ended, fail, found_in, going_on, in_headers, is_traced

Place = tuple[str, int, int]


@dataclass(frozen=True)
class _InHand:
    """The spans of a batch's records, by place and by message key; of several records of one key the last counts."""

    by_place: Mapping[Place, Span] = field(default_factory=dict)
    by_key: Mapping[str, Span] = field(default_factory=dict)


_in_hand: ContextVar[_InHand] = ContextVar("records in hand", default=_InHand())  # noqa: B039 - nobody changes it


@contextmanager
def processing(records: Sequence[Record], *, group: str) -> Iterator[None]:
    """A span for each record that was handed a trace on, as long as the work on its batch.

    A record that is alone in its batch is what all of the work goes on for. Of several, `caused_by` tells which.
    """
    if not is_traced():
        yield
        return
    in_hand = _begin(records, group)
    spans = in_hand.by_place.values()
    token = _in_hand.set(in_hand)
    try:
        with going_on(next(iter(spans), None) if len(records) == 1 else None):
            yield
    except BaseException as error:
        for span in spans:
            fail(span, error)
        raise
    finally:
        _in_hand.reset(token)
        for span in spans:
            span.end()


@contextmanager
def caused_by(message_key: str) -> Iterator[None]:
    """What is done here goes on for the record in hand that has this message key."""
    with going_on(_in_hand.get().by_key.get(message_key)):
        yield


def became_dead_letter(record: Record, error: BaseException) -> None:
    """Mark the span of a record in hand as failed."""
    span = _in_hand.get().by_place.get(_place(record))
    if span is not None:
        fail(span, error)


@contextmanager
def sending(topic: str) -> Iterator[tuple[tuple[str, bytes], ...]]:
    """A span until a record is acknowledged, and the headers that hand it on; neither when nothing is being traced."""
    if not is_traced():
        yield ()
        return
    with ended(begun(f"send {topic}", SpanKind.PRODUCER, _about("send", topic))):
        yield in_headers(carried())


def _begin(records: Sequence[Record], group: str) -> _InHand:
    by_place: dict[Place, Span] = {}
    by_key: dict[str, Span] = {}
    for record in records:
        span = _span_of(record, group)
        if span is not None:
            by_place[_place(record)] = span
            by_key[key_text(record.key)] = span
    return _InHand(by_place, by_key)


def _span_of(record: Record, group: str) -> Span | None:
    about: dict[str, str | int] = {
        **_about("process", record.topic),
        "messaging.destination.partition.id": str(record.partition),
        "messaging.kafka.offset": record.offset,
        "messaging.kafka.message.key": key_text(record.key),
        "messaging.consumer.group.name": group,
    }
    return begun_after(found_in(record.headers), f"process {record.topic}", SpanKind.CONSUMER, about)


def _about(operation: str, topic: str) -> dict[str, str]:
    return {
        "messaging.system": "kafka",
        "messaging.operation.name": operation,
        "messaging.operation.type": operation,
        "messaging.destination.name": topic,
    }


def _place(record: Record) -> Place:
    return record.topic, record.partition, record.offset
