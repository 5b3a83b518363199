"""Every number that judging publishes."""

from prometheus_client import Counter, Gauge

from shared.metrics import OutboxGauges

VERDICTS = Counter("twintally_judging_verdicts_total", "Verdicts by occasion", ["verdict", "occasion"])
REPEATED = Counter("twintally_judging_sightings_ignored_total", "Sightings seen before, or overtaken by a newer state")
DEAD_LETTERS = Counter("twintally_judging_dead_letters_total", "Records given up on", ["consumer"])
POSTPONED = Counter("twintally_judging_postponed_total", "Uses that could not be judged again and wait")
LOOKUPS = Counter("twintally_judging_lookups_changed_total", "Lookup records that said something new", ["topic"])
LOOKUPS_UNREADABLE = Counter(
    "twintally_judging_lookups_unreadable_total", "Lookup records that could not be read", ["topic"]
)
UNREADABLE = Gauge("twintally_judging_unreadable_lookups", "Unreadable lookup records; any stops all accusations")
TO_JUDGE = Gauge("twintally_judging_uses_to_judge_again", "Uses whose lookup data has changed")
AWAITING_FRESH = Gauge("twintally_judging_uses_awaiting_fresh", "Verdicts withheld until lookup data is fresh")
FRESH = Gauge("twintally_judging_lookups_fresh", "1 when lookup data is fresh enough to accuse, else 0")
LOOKUPS_AGE_S = Gauge("twintally_judging_lookups_age_seconds", "Age of the moment up to which all lookup data is known")
OUTBOX = OutboxGauges("judging")
