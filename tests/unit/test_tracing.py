"""One trace is handed on from record to record; without a collector there is nothing to hand on."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Sequence

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from shared import tracing
from shared.kafka import Record
from shared.kafka.batches import Patience, work_batch
from shared.kafka.spans import caused_by, processing, sending

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
HANDED_ON = f"00-{TRACE}-{PARENT}-01"


class Spans:
    """What was traced so far."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.tracer = provider.get_tracer("tests")

    @property
    def ended(self) -> Sequence[ReadableSpan]:
        return self.exporter.get_finished_spans()


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Spans:
    """Tracing into memory."""
    spans = Spans()
    monkeypatch.setattr(tracing._Tracing, "tracer", spans.tracer)
    return spans


def a_record(key: str = "use-1", offset: int = 0, traceparent: str | None = HANDED_ON) -> Record:
    headers = {} if traceparent is None else {"traceparent": traceparent.encode()}
    return Record("sightings.v1", 3, offset, key.encode(), b"{}", headers)


def handed_on_by(span: ReadableSpan) -> str:
    assert span.context is not None
    return f"00-{span.context.trace_id:032x}-{span.context.span_id:016x}-{span.context.trace_flags:02x}"


def span_at(spans: Spans, offset: int) -> ReadableSpan:
    [found] = [span for span in spans.ended if (span.attributes or {})["messaging.kafka.offset"] == offset]
    return found


def test_without_a_collector_nothing_is_handed_on() -> None:
    with processing([a_record()], group="judging"), caused_by("use-1"), sending("usage.v1") as headers:
        assert headers == ()
        assert tracing.carried() is None
        assert tracing.trace_id() is None


def test_without_a_collector_a_service_loads_no_exporter_and_starts_no_thread() -> None:
    code = (
        "import sys, threading\n"
        "import services.judging.__main__\n"
        "from shared.tracing import configure_tracing\n"
        "configure_tracing('judging', None)\n"
        "assert not [name for name in sys.modules if name.startswith(('opentelemetry.sdk.trace', 'google.protobuf'))]\n"
        "assert not [thread for thread in threading.enumerate() if 'Otel' in thread.name]\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def test_the_span_of_a_record_follows_the_one_that_sent_it(spans: Spans) -> None:
    with processing([a_record(offset=7)], group="judging"):
        pass
    [span] = spans.ended
    assert (span.name, span.kind) == ("process sightings.v1", SpanKind.CONSUMER)
    assert span.parent is not None
    assert (f"{span.parent.trace_id:032x}", f"{span.parent.span_id:016x}") == (TRACE, PARENT)
    assert dict(span.attributes or {}) == {
        "messaging.system": "kafka",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.destination.name": "sightings.v1",
        "messaging.destination.partition.id": "3",
        "messaging.kafka.offset": 7,
        "messaging.kafka.message.key": "use-1",
        "messaging.consumer.group.name": "judging",
    }


@pytest.mark.parametrize("traceparent", [None, "", "rubbish", f"00-{'0' * 32}-{PARENT}-01", "ü" * 55])
def test_a_record_that_was_handed_no_trace_begins_none(spans: Spans, traceparent: str | None) -> None:
    with processing([a_record(traceparent=traceparent)], group="judging"):
        assert tracing.carried() is None
    assert spans.ended == ()


def test_a_record_alone_in_its_batch_is_what_all_goes_on_for(spans: Spans) -> None:
    with processing([a_record()], group="judging"):
        carried = tracing.carried()
    assert carried == handed_on_by(spans.ended[0])


def test_of_several_records_the_one_with_the_message_key_is_gone_on_for(spans: Spans) -> None:
    carried = {}
    records = [a_record("use-1", 1), a_record("use-2", 2), a_record("use-2", 3), a_record("use-3", 4, None)]
    with processing(records, group="judging"):
        assert tracing.carried() is None
        for key in ("use-1", "use-2", "use-3", "use-4"):
            with caused_by(key):
                carried[key] = tracing.carried()
    assert len(spans.ended) == 3
    # Of two records of one key, the last.
    assert (carried["use-1"], carried["use-2"]) == (handed_on_by(span_at(spans, 1)), handed_on_by(span_at(spans, 3)))
    assert (carried["use-3"], carried["use-4"]) == (None, None)
    with caused_by("use-1"):
        assert tracing.carried() is None


def test_what_is_sent_is_handed_the_span_of_the_send(spans: Spans) -> None:
    with sending("posts.v1") as headers:
        assert headers == ()
    with spans.tracer.start_as_current_span("request"), sending("posts.v1") as headers:
        pass
    send, request = spans.ended
    assert (send.name, send.kind) == ("send posts.v1", SpanKind.PRODUCER)
    assert headers == (("traceparent", handed_on_by(send).encode()),)
    assert request.context is not None
    assert send.parent is not None
    assert send.parent.span_id == request.context.span_id


async def test_a_span_that_has_ended_is_handed_on_no_more(spans: Spans) -> None:
    async def in_the_background() -> str | None:
        await asyncio.sleep(0)
        return tracing.carried()

    with spans.tracer.start_as_current_span("request"):
        task = asyncio.create_task(in_the_background())
    assert await task is None


async def test_a_dead_letter_fails_the_span_of_its_record_alone(spans: Spans) -> None:
    class Letters:
        async def keep(self, record: Record, *, error: BaseException, attempts: int) -> None:
            pass

    async def effect(records: Sequence[Record]) -> None:
        if any(record.offset == 2 for record in records):
            raise ValueError("no such twin")

    records = [a_record("use-1", 1), a_record("use-2", 2)]
    with processing(records, group="judging"):
        assert await work_batch(records, effect, Letters(), Patience(first_pause_s=0)) == 1
    assert span_at(spans, 1).status.status_code is StatusCode.UNSET
    failed = span_at(spans, 2)
    assert (failed.status.status_code, failed.status.description) == (StatusCode.ERROR, "no such twin")


def test_a_batch_that_fails_fails_all_its_spans(spans: Spans) -> None:
    with pytest.raises(TimeoutError), processing([a_record("a", 1), a_record("b", 2)], group="judging"):
        raise TimeoutError("the database is away")
    assert [span.status.status_code for span in spans.ended] == [StatusCode.ERROR] * 2


def test_a_log_line_names_the_trace_that_goes_on() -> None:
    code = (
        "from opentelemetry.sdk.trace import TracerProvider\n"
        "from shared import tracing\n"
        "from shared.logs import configure_logs, get_log\n"
        "configure_logs('judging')\n"
        "tracing._Tracing.tracer = tracer = TracerProvider().get_tracer('t')\n"
        "with tracer.start_as_current_span('a') as span:\n"
        "    get_log().info('inside')\n"
        "get_log().info('outside')\n"
        "print(f'{span.get_span_context().trace_id:032x}')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    inside, outside, trace_id = done.stdout.splitlines()
    assert json.loads(inside)["trace_id"] == trace_id
    assert "trace_id" not in json.loads(outside)
