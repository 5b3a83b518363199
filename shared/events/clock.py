"""clock.v1: how far a service's own topics are complete."""

from typing import ClassVar

from pydantic import Field

from shared.events.base import StateEvent
from shared.events.topics import CLOCK, Topic
from shared.values import Id


class Watermark(StateEvent):
    """All that the service committed before `occurred_at` is in Kafka, below these end offsets.

    Its revision is the moment in milliseconds since 1970: it grows without a stored counter.
    """

    topic: ClassVar[Topic] = CLOCK
    type = "com.twintally.watermark.v1"

    revision: int = Field(ge=1, le=2**63 - 1, description="the moment in milliseconds since 1970")
    service: Id
    end_offsets: dict[str, dict[int, int]] = Field(description="topic, partition: the offset after the last record")

    def message_key(self) -> str:
        """The service."""
        return self.service
