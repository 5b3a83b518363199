"""Every number that royalty publishes."""

from prometheus_client import Counter

from shared.metrics import OutboxGauges

POSTINGS = Counter("twintally_royalty_postings_total", "Ledger transactions booked: fee, reversal", ["line"])
CORRECTIONS = Counter("twintally_royalty_corrections_total", "Usages that took back what stood booked for their use")
UNCHANGED = Counter("twintally_royalty_unchanged_total", "Newer revisions that said the same about money")
DUPLICATES = Counter(
    "twintally_royalty_duplicates_ignored_total", "Revisions seen before, or overtaken by a higher one"
)
SANDBOX = Counter("twintally_royalty_sandbox_ignored_total", "Usages of sandbox keys, which are never booked")
DEAD_LETTERS = Counter("twintally_royalty_dead_letters_total", "Records given up on", ["consumer"])
FENCED = Counter("twintally_royalty_fenced_total", "Batches rolled back because their partition had moved on")
OUTBOX = OutboxGauges("royalty")
