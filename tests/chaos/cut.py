"""A service that is killed at named moments: `python -m tests.chaos.cut SERVICE FOLDER`.

The first time that the process comes to a moment it leaves a mark in the folder and kills itself with -9; who is
started after it passes that moment. Nothing is cut before the folder holds a file named `armed`.
"""

import asyncio
import importlib
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

ARMED = "armed"


@dataclass(frozen=True)
class Moment:
    """Before or after a call of `place`, a `module:function` or `module:Class.method`, in a service."""

    name: str
    service: str
    when: Literal["before", "after"]
    place: str


SEND_ALL = "shared.kafka.producer:SteadyProducer.send_all"
WHERE: tuple[tuple[str, Literal["before", "after"], str], ...] = (
    ("intake, acknowledged and not marked", "before", "services.intake.store:RedisMarks.remember"),
    ("intake, kept and not sent", "after", "services.intake.store:ObjectInbox.keep"),
    ("registry's relay, sent and not marked", "after", SEND_ALL),
    ("matching, stored and not confirmed", "after", "services.matching.worker:PostsWorker.handle_batch"),
    ("matching's relay, sent and not marked", "after", SEND_ALL),
    ("judging, stored and not confirmed", "after", "services.judging.worker:SightingsWorker.handle_batch"),
    ("judging's relay, sent and not marked", "after", SEND_ALL),
    ("judging, lookup data stored and not counted", "after", "services.judging.lookups:Lookups.learn"),
    ("alerts, stored and not confirmed", "after", "services.alerts.worker:Infringements.handle"),
    ("alerts, delivered and not noted", "before", "services.alerts.delivery_store:DeliveryStore.finish"),
    ("royalty, posted and not committed", "after", "services.royalty.worker:on_usages"),
    ("royalty, committed and not confirmed", "after", "services.royalty.worker:UsageWorker.handle"),
    ("royalty's relay, sent and not marked", "after", SEND_ALL),
)
# The name begins with the service.
MOMENTS = tuple(
    Moment(name, name.partition(",")[0].removesuffix("'s relay"), when, place) for name, when, place in WHERE
)


def mark_of(folder: Path, moment: Moment) -> Path:
    """The file that says that the process came to this moment, and died of it."""
    return folder / moment.name.replace(" ", "-").replace(",", "").replace("'", "")


def cut(folder: Path, moment: Moment) -> None:
    """Have this process killed at the moment."""
    module_name, _, path = moment.place.partition(":")
    *owners, name = path.split(".")
    owner: Any = importlib.import_module(module_name)
    for each in owners:
        owner = getattr(owner, each)
    original: Callable[..., Awaitable[Any]] = getattr(owner, name)

    async def passed_or_cut(*args: Any, **named: Any) -> Any:
        if moment.when == "before":
            _end_once(folder, moment)
        result = await original(*args, **named)
        _end_once(folder, moment)
        return result

    setattr(owner, name, passed_or_cut)


def _end_once(folder: Path, moment: Moment) -> None:
    mark = mark_of(folder, moment)
    if (folder / ARMED).exists() and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    """Run the service with its cuts."""
    service, folder = sys.argv[1], Path(sys.argv[2])
    for moment in MOMENTS:
        if moment.service == service:
            cut(folder, moment)
    asyncio.run(importlib.import_module(f"services.{service}.__main__").main())


if __name__ == "__main__":
    main()
