"""Reads topics whole, as tests want them."""

import asyncio
from collections.abc import Sequence

from shared.kafka import Record
from shared.kafka.lookup import LookupReader
from shared.settings import KafkaSettings


async def read_all(kafka: KafkaSettings, topic: str) -> list[Record]:
    """Every record of a topic, up to its end now."""
    found: list[Record] = []

    async def learn(records: Sequence[Record]) -> None:
        found.extend(records)

    reader = LookupReader(kafka, [topic], learn)
    task = asyncio.create_task(reader.run())
    try:
        async with asyncio.timeout(60):
            while not reader.caught_up():
                await asyncio.sleep(0.05)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    return found
