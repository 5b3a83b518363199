"""What edges prove where blocks do not: beneath letters and lines, or through another picture."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from services.matching.recognition.blocks import Blocks
from services.matching.recognition.evidence import IMPOSSIBLE
from shared.fingerprints.compiled import Flags

# What lies over a whole copy, or shines through it, spoils its blocks but not its edges. Either nearly all blocks show
# them and enough of those stay in place; or most show some of them, half of them most, and many stay. Measured on false
# pairs of nine seeds, three sets of other edits and four of large marks. The nearest one to the first rule, a second
# photograph of a street: .79 of the blocks show most edges and .31 stay, together 1.1. The nearest to the second, two
# covers with the same lines: .80 show some and .57 most, at 35 bits, but of the middle only .55 show some; and two
# garments on one tiled floor: .89 show some and .57 most, of the middle .74.
EDGES_LOG_ODDS, EDGES_SOME, EDGES_MOST, EDGES_STRETCH_MAX = 2.2, 0.25, 0.5, 1.2
ALL_EDGED_MIN, ALL_HELD_MIN, ALL_SHARE_MIN, ALL_STAYING_MIN, ALL_BITS_MAX = 30, 16, 0.8, 1.2, 55.0
OVERLAID_EDGED_MIN, OVERLAID_HELD_MIN, OVERLAID_STAYING_MIN, OVERLAID_BITS_MAX = 40, 20, 0.45, 50.0
OVERLAID_SOME_MIN, OVERLAID_MOST_MIN, OVERLAID_MARKED_MAX = 0.85, 0.5, 0.3
MIDDLE_SOME_MIN, OVERLAID_MIDDLE_MIN, MIDDLE_EDGED_MIN = 0.7, 0.8, 6
EDGES_HOPEFUL_MIN = 0.35


@dataclass(frozen=True)
class EdgeAgreement:
    """How the edges of a reference run in an aligned query, by the blocks that have some.

    some, most: shares of these blocks in which more than a quarter, or half, of the edges runs the same way; held: how
    many of them could be asked whether they stay in place, in_place: how many of those do; 0 where that would prove
    nothing. middle: as `some`, of the blocks in the middle; None where it was not asked or too few have edges.
    """

    edged: int
    some: float = 0.0
    most: float = 0.0
    held: int = 0
    in_place: int = 0
    middle: float | None = None

    @classmethod
    def of(cls, blocks: Blocks, shared: Flags | None) -> EdgeAgreement:
        """Agreement outside the blocks that are shared with other twins."""
        edges = blocks.edges(np.ones_like(blocks.covered) if shared is None else ~shared)
        share = edges.share[edges.edged]
        if len(share) < ALL_EDGED_MIN:
            return cls(len(share))
        found = cls(len(share), float((share > EDGES_SOME).mean()), float((share > EDGES_MOST).mean()))
        if found.most < OVERLAID_MOST_MIN:
            return found
        stays, held = edges.in_place
        middle = edges.share[edges.edged & blocks.middle]
        shown = float((middle > EDGES_SOME).mean()) if len(middle) >= MIDDLE_EDGED_MIN else None
        return replace(found, held=int(held.sum()), in_place=int(stays.sum()), middle=shown)

    @property
    def is_hopeful(self) -> bool:
        """Whether a better map could make them prove something."""
        return self.most >= EDGES_HOPEFUL_MIN


def log_odds_of_edges(edges: EdgeAgreement, median_bits: float, stretch: float, marked_share: float) -> float:
    """Log odds of a pair whose blocks prove nothing, by its edges; the other arguments are those of `log_odds`.

    Where a reference is known to share marks with other twins, the edges of another mark may be what agrees; where the
    middle shows others, those of a frame or a cover; under a stretch, those of other letters.
    """
    if stretch > EDGES_STRETCH_MAX or (edges.middle is not None and edges.middle < MIDDLE_SOME_MIN):
        return IMPOSSIBLE
    if _nearly_all(edges) and median_bits <= ALL_BITS_MAX:
        return EDGES_LOG_ODDS
    if _under_something(edges) and median_bits <= OVERLAID_BITS_MAX and marked_share <= OVERLAID_MARKED_MAX:
        return EDGES_LOG_ODDS
    return IMPOSSIBLE


def _nearly_all(edges: EdgeAgreement) -> bool:
    """Whether nearly all blocks show the edges: the fewer do, the more must stay in place."""
    enough = edges.edged >= ALL_EDGED_MIN and edges.held >= ALL_HELD_MIN and edges.most >= ALL_SHARE_MIN
    return enough and edges.most + edges.in_place / edges.held >= ALL_STAYING_MIN


def _under_something(edges: EdgeAgreement) -> bool:
    """Whether most blocks show a part of the edges, as beneath letters or lines all over a picture."""
    enough = edges.edged >= OVERLAID_EDGED_MIN and edges.held >= OVERLAID_HELD_MIN
    shown = edges.some >= OVERLAID_SOME_MIN and edges.most >= OVERLAID_MOST_MIN
    shown = shown and (edges.middle is None or edges.middle >= OVERLAID_MIDDLE_MIN)
    return enough and shown and edges.in_place >= OVERLAID_STAYING_MIN * edges.held
