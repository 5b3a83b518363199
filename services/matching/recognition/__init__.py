"""Recognition: which registered references a published picture shows, and where."""

from services.matching.recognition.index import ReferenceIndex, warm_up
from services.matching.recognition.match import Match

__all__ = ["Match", "ReferenceIndex", "warm_up"]
