"""How an index keeps points and looks them up: tables, bits and limits, by its size.

EXACT compares whole descriptors, which costs 140 to 180 bytes a point. COMPACT, for many references, keeps 64 of the
256 bits and few tables; 16 more bits beside each place in a bucket spare most of the jumps through memory.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from shared.fingerprints.compiled import Places

TAG_BITS = 16
SIGNATURE_WORD = 1


class Plan(NamedTuple):
    """How points are kept and looked up.

    probes: buckets that a search looks into for each of many points (`probing.likeliest`); flips_at_registration: key
    bits of which each, turned alone, leads to one more bucket where all alike points are asked for, so that what twins
    share is known; whole: whether whole descriptors or signatures are compared; distance_max: of a search, in bits of
    what is compared, and at registration; tag_max: in bits, of the tags of a compact plan; crowded: points in a bucket
    above which it is passed over among COMPACT_FROM references.
    """

    tables: int
    key_bits: int
    probes: int
    flips_at_registration: int
    whole: bool
    distance_max: int
    distance_max_at_registration: int
    tag_max: int
    crowded: int

    def crowded_among(self, references: int) -> int:
        """Points in a bucket above which it is passed over: the more references, the more, but not as many more."""
        growth = CROWDING_OF_FEW if references < COMPACT_FROM else CROWDING
        return max(CROWDED_MIN, round(self.crowded * math.pow(references / COMPACT_FROM, growth)))


# Of the hard kinds of edits (2,000 pairs of five seeds) 7 buckets of 7 tables, their bits drawn by lot, found 1,906
# pairs at last; the likeliest 3, 4 and 5 of these 10 tables 1,907, 1,910 and 1,912. At registration fewer flips leave
# covers unknown that twins share, and 26 double its time.
EXACT = Plan(
    tables=10,
    key_bits=26,
    probes=4,
    flips_at_registration=12,
    whole=True,
    distance_max=50,
    distance_max_at_registration=56,
    tag_max=0,
    crowded=76,
)
COMPACT = Plan(
    tables=3,
    key_bits=23,
    probes=4,
    flips_at_registration=0,
    whole=False,
    distance_max=15,
    distance_max_at_registration=15,
    tag_max=3,
    crowded=134,
)
COMPACT_FROM = 20_000
# Of few references, buckets are passed over sooner: of 1,200 hard pairs 7 tables proposed 1,168 at 12 points and 1,171
# at 40, for a third more time; what lies between is chance. A picture that is registered more than CROWDED_MIN times
# crowds its own buckets: its parts are no longer found.
CROWDED_MIN, CROWDING_OF_FEW, CROWDING = 16, 0.75, 0.5


def plan_for(references: int) -> Plan:
    """The plan for an index of this size."""
    return EXACT if references < COMPACT_FROM else COMPACT


def plan_of(values: Sequence[int]) -> Plan:
    """The plan with these values; ValueError when there is none any more."""
    for plan in (EXACT, COMPACT):
        if list(plan) == list(values):
            return plan
    raise ValueError(f"plan: {values} is not known")


def _bits(plan: Plan, name: str) -> tuple[Places, Places]:
    """Bits of a descriptor that make the keys (tables, key bits) and the tags (tables, TAG_BITS or 0)."""
    told = _BITS[name]
    return (
        np.array(told["keys"], np.int64).reshape(plan.tables, plan.key_bits),
        np.array(told["tags"], np.int64).reshape(plan.tables, 0 if plan.whole else TAG_BITS),
    )


# Learned from pairs of alike points in hard edits: the next bit of a key is the one that divides unlike points most for
# the pairs it loses, and pairs that a key before has found count less. Beside bits drawn by lot that find as many
# pairs, a bucket has three quarters of the points, and less than half of them where no bit is used twice.
_BITS: dict[str, dict[str, list[list[int]]]] = json.loads(
    Path(__file__).with_name("key_bits.json").read_text(encoding="utf-8")
)
SAMPLED = {EXACT: _bits(EXACT, "exact"), COMPACT: _bits(COMPACT, "compact")}
