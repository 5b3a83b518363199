"""JSON logs, one event per line, for structlog and for the libraries that use the standard logging."""

import logging
import sys

import structlog

from shared.tracing import trace_id


def get_log() -> structlog.stdlib.BoundLogger:
    """The logger of a module; what it logs carries the event as its first argument and ids as fields."""
    logger: structlog.stdlib.BoundLogger = structlog.get_logger()
    return logger


def configure_logs(service: str, level: str = "INFO") -> None:
    """Send everything to standard output as JSON lines: time, level, event, service, and the trace that goes on."""
    shared_steps: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        _add_trace,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*shared_steps, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level)),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared_steps,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for chatty in ("uvicorn.access", "aiokafka", "faust", "mode", "kafka", "httpx2", "httpcore2"):
        logging.getLogger(chatty).setLevel("WARNING")
    structlog.contextvars.bind_contextvars(service=service)


def _add_trace(_: object, __: str, line: structlog.typing.EventDict) -> structlog.typing.EventDict:
    if (now := trace_id()) is not None:
        line["trace_id"] = now
    return line
