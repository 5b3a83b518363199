"""Looks at every process at once: its metrics and what its checks say; and at the dead letters now and then."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import Mapping

import httpx2
from aiokafka.errors import KafkaError
from pydantic import ValidationError

from infra.dlq.box import LetterBox
from infra.dlq.letters import wanted
from infra.kafka.layout import read_layout
from infra.status.addresses import Addresses
from infra.status.samples import Letters, Look, Process, parse
from shared.settings import KafkaSettings

ANSWER_S = 3.0
# Where no exporter tells that a letter came, they are read from time to time.
LETTERS_AGAIN_S = 30.0
LETTERS_WITHIN_S = 20.0


class Eye:
    """Sees everything, within an `async with`."""

    def __init__(self, addresses: Addresses, kafka: str | None) -> None:
        self._addresses = addresses
        self._client = httpx2.AsyncClient(timeout=ANSWER_S)
        self._letters = LetterCount(kafka)

    async def __aenter__(self) -> "Eye":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._letters.stop()
        await self._client.aclose()

    async def look(self, *, wait_for_letters: bool = False) -> Look:
        """Everything as it is now; letters as they were when last read, unless they are waited for."""
        asked = [self._process(service, url) for service, urls in self._addresses.items() for url in urls]
        look = Look(time.time(), tuple(await asyncio.gather(*asked)))
        self._letters.refresh(look.total("exporter", "twintally_dead_letter_records"))
        letters = await self._letters.known(wait=wait_for_letters)
        return Look(look.at_s, look.processes, letters)

    async def _process(self, service: str, url: str) -> Process:
        try:
            page, unready, unwell = await asyncio.gather(
                self._client.get(f"{url}/metrics"),
                self._problems(f"{url}/health/ready"),
                self._problems(f"{url}/health/live"),
            )
            return Process(service, url, parse(page.text), unready, unwell)
        except httpx2.HTTPError as error:
            return Process(service, url, away=f"{type(error).__name__} {error}".strip())
        except ValueError as error:
            return Process(service, url, away=f"what answers there is no service of ours: {error}")

    async def _problems(self, url: str) -> dict[str, str]:
        answer = await self._client.get(url)
        told = answer.json()
        if not isinstance(told, dict) or answer.status_code not in (200, 503):
            raise ValueError(f"{url} answered {answer.status_code} {json.dumps(told)[:100]}")
        return {str(name): str(problem) for name, problem in told.items() if problem != "ok"}


class LetterCount:
    """Counts the open dead letters in the background: again when the exporter tells of a new record."""

    def __init__(self, kafka: str | None) -> None:
        self._kafka = kafka
        self._known = Letters()
        self._records: float | None = None
        self._read_at = -LETTERS_AGAIN_S
        self._task: asyncio.Task[None] | None = None

    def refresh(self, records: float | None) -> None:
        """Begin to read them when there is a reason to."""
        now = time.monotonic()
        again = now - self._read_at > LETTERS_AGAIN_S and (records is None or self._known.problem is not None)
        first = self._known == Letters()
        if self._task is None and (first or again or records != self._records):
            self._read_at, self._records = now, records
            self._task = asyncio.create_task(self._read())

    async def known(self, *, wait: bool) -> Letters:
        """What was counted last."""
        if self._task is not None and (wait or self._task.done()):
            await self._task
            self._task = None
        return self._known

    async def stop(self) -> None:
        """Give up what is under way."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _read(self) -> None:
        try:
            async with asyncio.timeout(LETTERS_WITHIN_S):
                self._known = Letters(await _open_letters(_settings(self._kafka)))
        except (KafkaError, OSError, TimeoutError, ValueError) as error:
            self._known = Letters(problem=f"{type(error).__name__}: {error}".removeprefix("ValueError: "))


def _settings(kafka: str | None) -> KafkaSettings:
    try:
        return KafkaSettings(kafka=kafka or "")
    except ValidationError as error:
        found = error.errors()[0]
        raise ValueError(f"TWINTALLY_{'_'.join(map(str, found['loc'])).upper()}: {found['msg']}") from error


async def _open_letters(address: KafkaSettings) -> Mapping[str, int]:
    layout = read_layout()
    async with LetterBox(address, list(layout.topics), partitions=layout.defaults.dead_letters.partitions) as box:
        return dict(Counter(letter.consumer for letter in wanted(await box.letters())))
