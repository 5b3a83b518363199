"""The topics by name. How each is laid out stands in infra/kafka/topics.yaml; a test compares."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Topic:
    """A Kafka topic and the one service that writes it."""

    name: str
    owner: str

    @property
    def dead_letters(self) -> str:
        """Where a record of this topic goes that its consumer cannot read or work."""
        return f"{self.name}.dlq"


POSTS = Topic("posts.v1", "intake")
SIGHTINGS = Topic("sightings.v1", "matching")
USAGE = Topic("usage.v1", "judging")
INFRINGEMENTS = Topic("infringements.v1", "judging")
CASES = Topic("cases.v1", "alerts")
ALLOWANCES = Topic("allowances.v1", "alerts")
REFERENCES = Topic("references.v1", "registry")
LICENSES = Topic("licenses.v1", "registry")
CONSENTS = Topic("consents.v1", "registry")
PARTIES = Topic("parties.v1", "registry")
ACCESS = Topic("access.v1", "registry")
CLOCK = Topic("clock.v1", "every service")
ROYALTIES = Topic("royalties.v1", "royalty")
STATEMENTS = Topic("statements.v1", "royalty")
