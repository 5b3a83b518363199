"""Every number that matching publishes."""

from prometheus_client import Counter, Gauge, Histogram

from shared.metrics import OutboxGauges

FACTS = Counter("twintally_matching_facts_total", "Facts of posts worked")
FACTS_UNREADABLE = Counter("twintally_matching_facts_unreadable_total", "Stored facts that could not be read")
MEDIA = Counter("twintally_matching_media_total", "Media items by what became of them", ["outcome"])
SIGHTINGS = Counter("twintally_matching_sightings_total", "References newly recognised in an image")
USES = Counter("twintally_matching_uses_published_total", "States of uses published")
FETCHES = Counter("twintally_matching_fetches_total", "Fetches of images by result", ["result"])
PENDING = Gauge("twintally_matching_pending_fetches", "Images that wait for another try")
OLDEST_PENDING_S = Gauge("twintally_matching_oldest_pending_fetch_seconds", "How long the oldest of them has waited")
IMAGE_SECONDS = Histogram(
    "twintally_matching_image_cpu_seconds",
    "Processor time per image and stage",
    ["stage"],
    buckets=(0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0),
)
LATE_SEARCHES = Gauge("twintally_matching_late_searches", "Searches of added references that are not at their end")
OLDEST_LATE_S = Gauge("twintally_matching_oldest_late_search_seconds", "How long the oldest of them has waited")
LATE_QUERIES = Counter("twintally_matching_late_queries_total", "Stored queries held against added references")
LATE_MATCHES = Counter("twintally_matching_late_matches_total", "Images in which a later reference was recognised")
LATE_FAILURES = Counter(
    "twintally_matching_late_failures_total", "Late matches that failed for their own fault", ["result"]
)
LATE_GIVEN_UP = Gauge("twintally_matching_late_given_up", "Late searches that were given up and wait for a person")
LATE_EVIDENCE = Counter("twintally_matching_late_evidence_total", "Late evidence by how it was got", ["result"])
QUERIES_PURGED = Counter("twintally_matching_queries_purged_total", "Stored queries dropped by their age")
REFERENCES = Gauge("twintally_matching_index_references", "References in this worker's index")
INDEX_AGE_S = Gauge("twintally_matching_index_age_seconds", "Age of the moment up to which every reference is known")
DEAD_LETTERS = Counter("twintally_matching_dead_letters_total", "Records given up on", ["consumer"])
OUTBOX = OutboxGauges("matching")
