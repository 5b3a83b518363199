"""Spans that follow one post through the house. Where no collector is named: no span, no thread, no header.

A trace is handed on as W3C `traceparent`: in a Kafka record's headers, beside an event in the outbox, beside an alert.
Only what was handed one on is traced, but for a request, which begins a trace of its own.
"""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version

from opentelemetry import trace
from opentelemetry.trace import Span, SpanKind, StatusCode, Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

STOP_S = 3.0

_PROPAGATOR = TraceContextTextMapPropagator()
_HEADER = "traceparent"


class _Tracing:
    """What this process traces with; nothing until it is configured."""

    tracer: Tracer | None = None


def configure_tracing(service: str, endpoint: str | None) -> None:
    """Send spans to the collector at this address (OTLP over HTTP, `/v1/traces` below it); None: trace nothing.

    A collector that is away or slow costs spans, never work: they wait in a bounded queue, sent by a thread of its own.
    """
    if endpoint is None:
        return
    # Not before it is needed: it costs a process 11 MB.
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    about = {"service.name": service, "service.namespace": "twintally", "service.version": version("twintally")}
    provider = TracerProvider(resource=Resource.create(about), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(f"{endpoint}/v1/traces")))
    # Where FastAPI looks for it.
    trace.set_tracer_provider(provider)
    _Tracing.tracer = provider.get_tracer("twintally")


def stop_tracing() -> None:
    """Send what waits, for a few seconds at most."""
    shutdown = getattr(trace.get_tracer_provider(), "shutdown", None)
    if _Tracing.tracer is not None and shutdown is not None:
        _Tracing.tracer = None
        sending = threading.Thread(target=shutdown, name="last spans", daemon=True)
        sending.start()
        sending.join(STOP_S)


def is_traced() -> bool:
    """Is there a collector?"""
    return _Tracing.tracer is not None


def carried() -> str | None:
    """The `traceparent` that goes with what is made now; None when nothing is being traced."""
    if not _is_recording():
        return None
    carrier: dict[str, str] = {}
    _PROPAGATOR.inject(carrier)
    return carrier.get(_HEADER)


def trace_id() -> str | None:
    """The id of the trace that goes on now, for a log line."""
    return f"{trace.get_current_span().get_span_context().trace_id:032x}" if _is_recording() else None


def in_headers(traceparent: str | None) -> tuple[tuple[str, bytes], ...]:
    """A `traceparent` as the headers of a Kafka record."""
    return () if traceparent is None else ((_HEADER, traceparent.encode()),)


def found_in(headers: Mapping[str, bytes]) -> str | None:
    """The `traceparent` in a Kafka record's headers, whatever was written there."""
    found = headers.get(_HEADER)
    return found.decode("ascii", "replace") if found else None


def begun(name: str, kind: SpanKind, about: Mapping[str, str | int]) -> Span | None:
    """A span below the current one, for the caller to end; None when nothing is being traced."""
    if _Tracing.tracer is None or not _is_recording():
        return None
    return _Tracing.tracer.start_span(name, kind=kind, attributes=dict(about))


def begun_after(traceparent: str | None, name: str, kind: SpanKind, about: Mapping[str, str | int]) -> Span | None:
    """A span below the one that handed on this `traceparent`, for the caller to end; None without a valid one."""
    if _Tracing.tracer is None or traceparent is None:
        return None
    parent = _PROPAGATOR.extract({_HEADER: traceparent})
    if not trace.get_current_span(parent).get_span_context().is_valid:
        return None
    return _Tracing.tracer.start_span(name, parent, kind, dict(about))


def fail(span: Span, error: BaseException) -> None:
    """Mark a span as failed."""
    span.set_attribute("error.type", type(error).__name__)
    span.set_status(StatusCode.ERROR, str(error)[:500])


@contextmanager
def going_on(span: Span | None) -> Iterator[None]:
    """Make this span the current one, or leave all as it is without one."""
    if span is None:
        yield
    else:
        with trace.use_span(span, record_exception=False, set_status_on_exception=False):
            yield


@contextmanager
def ended(span: Span | None) -> Iterator[None]:
    """Go on with this span and end it, as failed when an error passes."""
    if span is None:
        yield
        return
    try:
        with going_on(span):
            yield
    except BaseException as error:
        fail(span, error)
        raise
    finally:
        span.end()


def _is_recording() -> bool:
    # A span that has ended may still be current in a task that outlives it, like a client's in the background.
    return _Tracing.tracer is not None and trace.get_current_span().is_recording()
