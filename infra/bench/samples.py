"""What is computed from samples; values in, values out."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

# A backlog is sampled while consumers confirm about once a second: what came within so long always waits.
UNCONFIRMED_S = 2.0
# The samples around the middle of a run, and those at its end, as shares of its length.
MIDDLE, END = (0.4, 0.6), (0.8, 1.0)


@dataclass(frozen=True)
class Latencies:
    """From one kind of moment to another, over many posts; `missing` had the first and never the second."""

    count: int
    missing: int
    p50_s: float | None
    p99_s: float | None
    max_s: float | None


def percentile(values: Sequence[float], share: float) -> float:
    """The nearest-rank percentile: the smallest value that this share of them does not exceed."""
    if not values or not 0 < share <= 1:
        raise ValueError(f"a percentile needs values and a share above 0 up to 1; got {len(values)} and {share}")
    return sorted(values)[math.ceil(share * len(values)) - 1]


def latencies(began: Mapping[str, float], ended: Mapping[str, float], wanted: Sequence[str]) -> Latencies:
    """How long it took for each of the wanted posts that were begun; times are seconds of one clock."""
    asked = [name for name in wanted if name in began]
    took = [ended[name] - began[name] for name in asked if name in ended]
    missing = len(asked) - len(took)
    if not took:
        return Latencies(0, missing, None, None, None)
    return Latencies(len(took), missing, percentile(took, 0.5), percentile(took, 0.99), max(took))


def is_flat(samples: Sequence[tuple[float, int]], *, length_s: float, per_s: float) -> bool | None:
    """Whether no more waits at the end than in the middle, but for what is never confirmed yet; None: too few samples.

    Each sample is (seconds since the beginning, how much waits).
    """
    middle, end = (
        [waits for at, waits in samples if low * length_s <= at <= high * length_s] for low, high in (MIDDLE, END)
    )
    if not middle or not end:
        return None
    return median(end) <= median(middle) + UNCONFIRMED_S * per_s


def per_thousand(spent: Mapping[str, float], posts: int) -> dict[str, float]:
    """What was spent by each, for 1,000 posts."""
    return {name: round(1000 * amount / posts, 3) for name, amount in spent.items()}


def growth(half: Mapping[str, float], end: Mapping[str, float]) -> dict[str, float]:
    """End by half, of everything that was there at both."""
    return {name: round(end[name] / half[name], 4) for name in half if name in end and half[name] > 0}


def median_ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """The median of the ratios of rounds that were played by turns."""
    return median(one / other for one, other in zip(ours, theirs, strict=True))
