"""How a batch is worked so that nothing is lost and nothing poisons the stream."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from shared.events import Unreadable
from shared.kafka.consuming import Fenced
from shared.kafka.deadletters import DeadLetters, error_text
from shared.kafka.passing import PASSING_FAULTS
from shared.kafka.records import Record, offsets_of
from shared.kafka.spans import became_dead_letter
from shared.logs import get_log

log = get_log()

# Raised as they are. Fenced is no fault at all: another worker owns the partition, and this batch was rolled back.
NEVER_THE_RECORDS_FAULT = (*PASSING_FAULTS, Fenced)

Effect = Callable[[Sequence[Record]], Awaitable[None]]


@dataclass(frozen=True)
class Patience:
    """How often a fault is tried again."""

    own_fault_attempts: int = 3
    passing_fault_attempts: int = 6
    first_pause_s: float = 0.2


async def work_batch(
    records: Sequence[Record], effect: Effect, dead_letters: DeadLetters, patience: Patience = Patience()
) -> int:
    """Store the effect of all records, each once or more; returns how many became dead letters.

    The batch is tried as a whole. When a record of it is at fault, its halves are, in their order, down to that
    record; what fails alone for its own reason goes to the dead letters. A passing fault is repeated a bounded number
    of times, then raised: the caller must leave without confirming. Fenced is raised at once: the caller reads again
    from what is stored.
    """
    log.debug("batch_taken", offsets=offsets_of(records))
    kept = await _work(records, effect, dead_letters, patience)
    log.debug("batch_stored", offsets=offsets_of(records))
    return kept


async def _work(records: Sequence[Record], effect: Effect, dead_letters: DeadLetters, patience: Patience) -> int:
    if len(records) == 1:
        return int(await _work_one(records[0], effect, dead_letters, patience))
    try:
        await _through_passing_faults(records, effect, patience)
    except NEVER_THE_RECORDS_FAULT:
        raise
    except Exception as error:
        log.warning("batch_failed", records=len(records), error=error_text(error))
    else:
        return 0
    middle = len(records) // 2
    kept = await _work(records[:middle], effect, dead_letters, patience)
    return kept + await _work(records[middle:], effect, dead_letters, patience)


async def _work_one(record: Record, effect: Effect, dead_letters: DeadLetters, patience: Patience) -> bool:
    attempts = 0
    while True:
        attempts += 1
        try:
            await _through_passing_faults([record], effect, patience)
        except NEVER_THE_RECORDS_FAULT:
            raise
        except Exception as error:
            if attempts < patience.own_fault_attempts and not isinstance(error, Unreadable):
                await asyncio.sleep(patience.first_pause_s)
                continue
            await dead_letters.keep(record, error=error, attempts=attempts)
            became_dead_letter(record, error)
            source = f"{record.topic}/{record.partition}/{record.offset}"
            log.error("dead_letter", source=source, error=error_text(error))
            return True
        return False


async def _through_passing_faults(records: Sequence[Record], effect: Effect, patience: Patience) -> None:
    for attempt in range(1, patience.passing_fault_attempts + 1):
        try:
            return await effect(records)
        except PASSING_FAULTS as error:
            if attempt == patience.passing_fault_attempts:
                raise
            log.warning("passing_fault", attempt=attempt, error=f"{type(error).__name__}: {error}")
            await asyncio.sleep(patience.first_pause_s * 2 ** (attempt - 1))
    return None
