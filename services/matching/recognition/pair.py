"""A reference and a query under one map after the other: what agrees, and what the best map proves."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from services.matching.recognition.blocks import Blocks, View, compare
from services.matching.recognition.edge_evidence import EdgeAgreement, log_odds_of_edges
from services.matching.recognition.evidence import IMPOSSIBLE, MIDDLE_SHARE_MIN, Agreement, is_proven, log_odds
from services.matching.recognition.geometry import mapped_corners, scale_of, stretch_of
from services.matching.recognition.seen import corrected, look
from services.matching.recognition.shelf import Entry
from shared.fingerprints.compiled import Floats, Grey

STILL_PX = 0.25  # of the reference: a map that moved less is as good as it gets
STEPS_PX = (3, 2, 2)  # around a point's place, in pixels of its level: each corrects the map once


class Pair:
    """One reference and one query, to be compared under one map after the other (3 x 3, reference px to query px)."""

    def __init__(self, entry: Entry, grey: Grey) -> None:
        self._entry, self._grey = entry, grey
        self._view = View(entry.fingerprint.thumbnail)
        self._latest: tuple[Floats | None, Blocks | None] = None, None

    def _blocks(self, matrix: Floats) -> Blocks | None:
        """The blocks under a map; those of the last one are kept, because its edges may be asked, too."""
        if matrix is not self._latest[0]:
            self._latest = matrix, compare(self._view, self._grey, matrix @ self._entry.unit)
        return self._latest[1]

    def agreement(self, matrix: Floats) -> Agreement:
        """How the pixels agree under a map."""
        blocks = self._blocks(matrix)
        return Agreement(0) if blocks is None else Agreement.of(blocks, self._entry.shared)

    def log_odds(self, agreement: Agreement, matrix: Floats, median_bits: float) -> float:
        """What an agreement under a map proves; see `evidence.log_odds`."""
        if not agreement.is_enough:
            return IMPOSSIBLE
        stretch = stretch_of(matrix, self._entry.fingerprint.size_px)
        return log_odds(agreement, median_bits, stretch, self._entry.shared_share)

    def edges(self, matrix: Floats) -> EdgeAgreement:
        """How the edges run under a map."""
        blocks = self._blocks(matrix)
        return EdgeAgreement(0) if blocks is None else EdgeAgreement.of(blocks, self._entry.shared)

    def weighed(self, agreement: Agreement, matrix: Floats, median_bits: float) -> tuple[float, Agreement]:
        """What the best map proves by its blocks, else by its edges; where these decide, they tell what is covered."""
        odds = self.log_odds(agreement, matrix, median_bits)
        if is_proven(agreement, odds):
            return odds, agreement
        edges, stretch = self.edges(matrix), stretch_of(matrix, self._entry.fingerprint.size_px)
        by_edges = log_odds_of_edges(edges, median_bits, stretch, self._entry.shared_share)
        middle = agreement.middle if edges.middle is None else edges.middle
        if by_edges == IMPOSSIBLE or middle < MIDDLE_SHARE_MIN:  # edges are never beyond doubt
            return odds, agreement
        return max(odds, by_edges), replace(agreement, different=1 - edges.most, middle=middle)

    def sharpened(self, agreement: Agreement, matrix: Floats) -> tuple[Agreement, Floats]:
        """The best agreement among that of a map and of those to which the points correct it, and its map."""
        latest, size = matrix, self._entry.fingerprint.size_px
        for step_px in STEPS_PX:
            seen = look(self._entry, self._grey, latest, step_px)
            better = corrected(self._entry, seen, latest, step_px)
            if better is None:
                break
            moved_px = np.abs(mapped_corners(better, size) - mapped_corners(latest, size)).max() / scale_of(latest)
            latest, again = better, self.agreement(better)
            if again.is_better(agreement):
                agreement, matrix = again, better
            if moved_px < STILL_PX:
                break
        return agreement, matrix
