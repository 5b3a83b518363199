"""Every number that the registry publishes."""

from prometheus_client import Counter, Histogram

from shared.metrics import OutboxGauges

CHANGES = Counter("twintally_registry_changes_total", "Requests for a change by kind and outcome", ["kind", "outcome"])
UNUSABLE = Counter("twintally_registry_images_unusable_total", "Images that cannot be a reference", ["reason"])
SAME_PICTURES = Counter(
    "twintally_registry_same_pictures_total", "References of others that show the picture of a new one", ["whose"]
)
FINGERPRINT_SECONDS = Histogram("twintally_registry_fingerprint_seconds", "From an image's bytes to its fingerprint")
OUTBOX = OutboxGauges("registry")
