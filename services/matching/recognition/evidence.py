"""What an aligned pair proves: a linear log-odds over blocks and points, hard floors, and what else explains it."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from services.matching.recognition.alignment import Alignment
from services.matching.recognition.blocks import AGREES, AGREES_CLOSELY, Blocks
from services.matching.recognition.geometry import Region, area, overlap
from shared.fingerprints.compiled import Flags, Floats

# Something else is seen there. Compression of the worst kind makes faint texture differ, hence a minimum.
DIFFERS_GREY, DIFFERS_DETAILS, DIFFERS_TEXTURE_MIN = 0.3, 0.5, 60.0
BLOCKS_MIN = 8
SHARE_MIN = 0.38
FEW_BLOCKS, FEW_BLOCKS_COVER_MIN = 20, 0.5
# A small part of a picture, most of all of a soft one, has few blocks that tell anything; there the points have to
# speak: many, or fewer that are closer. Of ten seeds, one set of other edits and three of large marks the nearest false
# pairs have .34 of their points met tightly at 36 bits with nine tenths of known marks, and .31 at 42 bits in a second
# photograph.
SOFT_BLOCKS_MIN, SOFT_SHARE_MIN, SOFT_DETAILS_MIN, SOFT_COVER_MIN, SOFT_LOG_ODDS = 2, 0.8, 0.4, 0.9, 2.0
SOFT_TIGHT_MIN, SOFT_MARKED_MAX = 0.35, 0.75
MANY_POINTS_MIN, MANY_POINTS_BITS_MAX, MANY_POINTS_SPREAD_MIN = 30, 40.0, 0.15
CLOSE_POINTS_MIN, CLOSE_POINTS_BITS_MAX, CLOSE_POINTS_SPREAD_MIN = 9, 35.0, 0.08
HASH_BLOCKS_MIN, HASH_SHARE_MIN, HASH_MEDIAN_MIN, HASH_DETAILS_MIN = 12, 0.65, 0.9, 0.5
DOUBT_FROM, DOUBT_TO = -4.0, 3.0
# Of the kit's copies that were found (two seeds), .42 of the blocks agreed at least, before any map was sharpened; of
# 96 in 100 false candidates fewer than this agree, and of those only the edges are asked.
HOPEFUL_SHARE_MIN = 0.3
# With narrow frames masked, the one false match of 13 sets of large marks that this decides has log odds of 1.5,
# covers of a shape of their own 3.8 and more. Copies that show so little lie beneath large codes and stickers.
MIDDLE_SHARE_MIN, MIDDLE_BLOCKS_MIN, MIDDLE_COVERED_MIN, BEYOND_DOUBT = 0.17, 12, 0.6, 1.75
MARKED_SHARE = 0.1
KEPT_BLOCKS_SHARE = 0.8
MANY_BLOCKS = 60
STRETCH_FROM, STRETCH_TO = math.log(1.125), 0.15
SAME_PLACE, CLEARLY_WEAKER, COPY_OF_ITS_OWN = 0.6, 1.0, 0.75
STAYING_TO_MOVED = 3  # true ones: 4.7 at least on four seeds; a second photograph of a street: 1.25

_FACTS = json.loads(Path(__file__).with_name("evidence.json").read_text(encoding="utf-8"))
WEIGHTS: dict[str, float] = _FACTS["weights"]
INTERCEPT: float = _FACTS["intercept"]
THRESHOLD: float = _FACTS["threshold"]
IMPOSSIBLE = -9.0


@dataclass(frozen=True)
class Agreement:
    """How the telling blocks of an aligned pair agree: shares of all telling blocks, and the median.

    in_place: how many of them agree and stay in place, moved: how many agree and do not; 0 where too little agrees.
    Where `grey` is below HOPEFUL_SHARE_MIN, nothing but it, `blocks` and `middle` was measured.
    different: the share of them that show something else: what lies over a copy, or another picture in the same frame.
    middle: the share of the telling blocks in the middle that agree; 1 where the query has too little of it to say.
    """

    blocks: int
    grey: float = 0.0
    grey_closely: float = 0.0
    details: float = 0.0
    details_closely: float = 0.0
    median_grey: float = 0.0
    in_place: int = 0
    moved: int = 0
    different: float = 0.0
    middle: float = 1.0

    @property
    def is_enough(self) -> bool:
        """Whether enough blocks count and agree to prove anything."""
        return self.blocks >= BLOCKS_MIN and max(self.grey, self.details) >= SHARE_MIN

    def is_better(self, other: Agreement) -> bool:
        """Whether its map is the better one of the same pair: not one that only leaves less to disagree."""
        if self.is_enough != other.is_enough:
            return self.is_enough
        return self.blocks >= KEPT_BLOCKS_SHARE * other.blocks and self._closeness > other._closeness

    @property
    def _closeness(self) -> float:
        return self.details_closely + self.grey + 0.1 * self.grey_closely

    @classmethod
    def of(cls, blocks: Blocks, shared: Flags | None) -> Agreement:
        """Agreement outside the blocks that are shared with other twins."""
        telling = blocks.telling if shared is None else blocks.telling & ~shared
        grey = blocks.grey[telling]
        if len(grey) == 0:
            return cls(0)
        agreeing = float((grey > AGREES).mean())
        if agreeing < HOPEFUL_SHARE_MIN:
            return cls(len(grey), agreeing, middle=_middle_share(blocks, telling))
        details = blocks.details[telling]
        found = cls(
            len(grey),
            agreeing,
            float((grey > AGREES_CLOSELY).mean()),
            float((details > AGREES).mean()),
            float((details > AGREES_CLOSELY).mean()),
            float(np.median(grey)),
            different=_different_share(blocks, telling),
            middle=_middle_share(blocks, telling),
        )
        if not found.is_enough:
            return found  # what stays in place would change nothing
        stays, asked = blocks.in_place
        return replace(found, in_place=int(stays[telling].sum()), moved=int((asked & ~stays)[telling].sum()))


def _different_share(blocks: Blocks, telling: Flags) -> float:
    """Share of the telling blocks that are clearly different; blocks that are flat on both sides are not among them."""
    texture = np.maximum(blocks.own_texture, blocks.query_texture)[telling]
    unlike = (blocks.grey[telling] < DIFFERS_GREY) & (blocks.details[telling] < DIFFERS_DETAILS)
    return float((unlike & (texture > DIFFERS_TEXTURE_MIN)).mean())


def _middle_share(blocks: Blocks, telling: Flags) -> float:
    """Share of the telling blocks in the middle that agree; 1 where it is not in view or too little of it tells."""
    here = telling & blocks.middle
    if here.sum() < MIDDLE_BLOCKS_MIN or blocks.covered[blocks.middle].mean() < MIDDLE_COVERED_MIN:
        return 1.0
    return float((blocks.grey[here] > AGREES).mean())


@dataclass(frozen=True, eq=False)
class Candidate:
    """A reference somewhere in the query, in decoded pixels. matrix: reference to query; region: in the query."""

    reference_id: str
    log_odds: float
    agreement: Agreement
    matrix: Floats
    region: Region


def _odds(share: float) -> float:
    return math.log((share + 0.02) / (1.02 - share))


def _features(agreement: Agreement, median_bits: float, stretch: float, marked_share: float) -> dict[str, float]:
    different = max(0.0, agreement.different - 0.1)
    return {
        "odds_grey_agrees_closely": _odds(agreement.grey_closely),
        "odds_details_agree": _odds(agreement.details),
        "median_distance": min(80.0, median_bits) / 80,
        "log_blocks_in_place": math.log(1 + agreement.in_place),
        "log_in_place_to_moved": math.log((agreement.in_place + 0.5) / (agreement.moved + 0.5)),
        "different_over_a_tenth": different,
        "different_over_a_quarter": max(0.0, agreement.different - 0.25),
        "different_beside_marks": different * min(1.0, marked_share / MARKED_SHARE),
        "few_blocks": max(0.0, 1 - agreement.blocks / MANY_BLOCKS),
        "log_stretch": min(STRETCH_TO, max(0.0, math.log(stretch) - STRETCH_FROM)),
    }


def log_odds(agreement: Agreement, median_bits: float, stretch: float, marked_share: float) -> float:
    """Log odds that an aligned pair is a copy; IMPOSSIBLE when too few blocks count or agree.

    median_bits: how far the descriptors of meeting points are apart; stretch: of the map, from 1 on; marked_share: the
    share of the reference's blocks that other twins are known to have. Where a reference has some, what agrees beside
    something else may be another mark; and lines of letters agree with others of their kind under a stretch.
    """
    if not agreement.is_enough:
        return IMPOSSIBLE
    features = _features(agreement, median_bits, stretch, marked_share)
    return INTERCEPT + sum(weight * features[name] for name, weight in WEIGHTS.items())


def log_odds_of_frames(agreement: Agreement) -> float:
    """Log odds of two pictures laid frame on frame because their hashes are near: no points, hence stricter."""
    enough = agreement.blocks >= HASH_BLOCKS_MIN and agreement.median_grey >= HASH_MEDIAN_MIN
    if enough and agreement.grey >= HASH_SHARE_MIN and agreement.details >= HASH_DETAILS_MIN:
        return 3.0 + agreement.grey
    return IMPOSSIBLE


def log_odds_of_soft_part(
    agreement: Agreement, alignment: Alignment, spread: float, covered_share: float, marked_share: float
) -> float:
    """Log odds of a pair with too few blocks for `log_odds`: what they and the points prove together.

    spread: of the meeting points, see `spread_of`; covered_share: of the query, by the reference: only a part of a
    picture may be so plain; marked_share: as in `log_odds`. Most of the blocks have to agree, as many to stay as move,
    and of the points in view a good share to meet tightly and closely, and not all in one place of the query.
    """
    few = (
        SOFT_BLOCKS_MIN <= agreement.blocks < FEW_BLOCKS
        and covered_share >= SOFT_COVER_MIN
        and marked_share <= SOFT_MARKED_MAX
    )
    agrees = agreement.grey >= SOFT_SHARE_MIN and agreement.details >= SOFT_DETAILS_MIN
    stays = agreement.in_place >= agreement.moved
    meets = alignment.tight_share >= SOFT_TIGHT_MIN and _points_speak(alignment, spread)
    return SOFT_LOG_ODDS if few and agrees and stays and meets else IMPOSSIBLE


def _points_speak(alignment: Alignment, spread: float) -> bool:
    """Whether many points meet, or fewer that are closer."""
    bits, points = alignment.median_bits, alignment.meeting
    many = points >= MANY_POINTS_MIN and bits <= MANY_POINTS_BITS_MAX and spread >= MANY_POINTS_SPREAD_MIN
    close = points >= CLOSE_POINTS_MIN and bits <= CLOSE_POINTS_BITS_MAX and spread >= CLOSE_POINTS_SPREAD_MIN
    return many or close


def may_be(agreement: Agreement) -> bool:
    """Whether a better map could make it enough: less agrees under a map that is a little wrong."""
    return agreement.blocks >= BLOCKS_MIN and agreement.grey >= HOPEFUL_SHARE_MIN


def is_doubtful(agreement: Agreement, odds: float) -> bool:
    """Whether a better map could change the answer: neither certain nor hopeless."""
    return may_be(agreement) and DOUBT_FROM < odds < DOUBT_TO


def probability(log_odds_value: float) -> float:
    """Log odds as a chance between 0 and 1."""
    return 1 / (1 + math.exp(-log_odds_value))


def is_proven(agreement: Agreement, odds: float) -> bool:
    """Whether the odds are enough; they are not where the middle shows something else, and only a frame is shared."""
    return odds > THRESHOLD and (agreement.middle >= MIDDLE_SHARE_MIN or odds >= BEYOND_DOUBT)


def is_plausible(candidate: Candidate, query_px: tuple[int, int]) -> bool:
    """Few blocks count only as a crop: the reference then covers most of the query."""
    if not is_proven(candidate.agreement, candidate.log_odds):
        return False
    if candidate.agreement.blocks >= FEW_BLOCKS:
        return True
    return area(candidate.region) >= FEW_BLOCKS_COVER_MIN * query_px[0] * query_px[1]


def explain_away(candidates: Iterable[Candidate]) -> list[Candidate]:
    """One region shows one picture: clearly weaker look-alikes in an explained region go, true duplicates stay.

    A duplicate agrees closely; where little is seen of it, in place too: a second photograph of the scene has moved.
    """
    ordered = sorted(candidates, key=lambda candidate: (-candidate.log_odds, candidate.reference_id))
    kept: dict[str, Candidate] = {}
    for one in ordered:
        agreement = one.agreement
        stays = agreement.blocks >= MANY_BLOCKS or agreement.in_place >= STAYING_TO_MOVED * agreement.moved
        duplicate = agreement.grey_closely >= COPY_OF_ITS_OWN and stays
        explained = not duplicate and any(
            one.log_odds < other.log_odds - CLEARLY_WEAKER and overlap(one.region, other.region) > SAME_PLACE
            for other in kept.values()
        )
        if one.reference_id not in kept and not explained:
            kept[one.reference_id] = one
    return list(kept.values())
