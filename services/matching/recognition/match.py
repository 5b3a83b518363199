"""The answer to a search."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from services.matching.recognition.geometry import Region
from shared.fingerprints import ALGORITHM

Row = tuple[float, float, float]


@dataclass(frozen=True)
class Match:
    """A reference that a query shows.

    score: 0 to 1, the chance that it is a copy as the evidence sees it; region: (x0, y0, x1, y1) in pixels of the
    original query; transform: 3 x 3, from pixels of the original reference to pixels of the original query;
    description: the same in words; covered_share: of what is visible of the reference, the share that shows something
    else.
    """

    ALGORITHM: ClassVar[str] = ALGORITHM

    reference_id: str
    twin_id: str
    score: float
    region: Region
    transform: tuple[Row, Row, Row]
    description: str
    covered_share: float = 0.0
