"""The exporter's loop: look, show, wait; a broker that is away is waited for."""

import asyncio
import time

from aiokafka.errors import KafkaError

from infra.exporter.broker import Broker
from infra.exporter.lag import Seen, oldest_s
from infra.exporter.metrics import DEAD_LETTERS, LAG, LOOKED_AT, OLDEST_S
from shared.logs import get_log

log = get_log()

LOOK_WITHIN_S = 15.0
AFTER_A_FAULT_S = 1.0


class Looking:
    """Looks again and again. While the broker is away the numbers stay as they were, and readiness says so."""

    def __init__(self, broker: Broker, *, pause_s: float) -> None:
        self._broker = broker
        self._pause_s = pause_s
        self._problem: str | None = "the broker has not been asked yet"

    def problem(self) -> str | None:
        """Why the numbers may be old; None when they are those of the last look."""
        return self._problem

    async def run(self) -> None:
        """Look until cancelled."""
        try:
            while True:
                await self._look()
                await asyncio.sleep(self._pause_s if self._problem is None else min(self._pause_s, AFTER_A_FAULT_S))
        finally:
            await self._broker.close()

    async def _look(self) -> None:
        try:
            async with asyncio.timeout(LOOK_WITHIN_S):
                seen = await self._broker.look()
        except (KafkaError, OSError, TimeoutError) as error:
            why = str(error) if isinstance(error, KafkaError) else f"{type(error).__name__}: {error}"
            self._problem = f"the numbers are old; asking the broker ended with {why}"
            log.warning("broker_does_not_tell", error=why)
            await self._broker.close()
            return
        if self._problem is not None:
            log.info("broker_tells", partitions=len(seen.progress))
        self._problem = None
        _show(seen)


def _show(seen: Seen) -> None:
    now_s = time.time()
    for each in seen.progress:
        LAG.labels(each.group, each.part.topic, each.part.partition).set(each.lag)
    for group, age_s in oldest_s(seen.progress, now_s=now_s).items():
        OLDEST_S.labels(group).set(age_s)
    for topic, records in seen.dead_letters.items():
        DEAD_LETTERS.labels(topic).set(records)
    LOOKED_AT.set(now_s)
