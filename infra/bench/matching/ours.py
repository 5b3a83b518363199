"""Our side: what the running service does with an image, with its accepted thresholds."""

from collections.abc import Sequence
from pathlib import Path

from infra.bench.matching.turns import Stages, serve
from services.matching.recognition import ReferenceIndex, warm_up
from services.matching.recognition.index import Registration
from shared.fingerprints import Fingerprint, Undecodable, decode, fingerprint_query, fingerprint_reference


class Ours:
    """The service's index and search."""

    def __init__(self) -> None:
        warm_up()
        self._index = ReferenceIndex()

    def register(self, paths: Sequence[Path]) -> int:
        """Every file is a reference of a twin of its own."""
        made = ((path.stem, _fingerprint(path)) for path in paths)
        self._index.add_all(Registration(name, f"twin-{name}", True, each) for name, each in made if each is not None)
        return len(self._index)

    def search(self, path: Path, stages: Stages) -> list[str]:
        """From the file to the decision."""
        data = stages.timed("read", path.read_bytes)
        picture = stages.timed("decode", lambda: decode(data))
        if isinstance(picture, Undecodable):
            return []
        query = stages.timed("describe", lambda: fingerprint_query(picture))
        found = self._index.search(
            query, livemode=True, spent=lambda stage, seconds: stages.add(f"search_{stage}", seconds)
        )
        return [match.reference_id for match in found]


def _fingerprint(path: Path) -> Fingerprint | None:
    picture = decode(path.read_bytes())
    made = None if isinstance(picture, Undecodable) else fingerprint_reference(picture)
    return made if isinstance(made, Fingerprint) else None


if __name__ == "__main__":
    serve(Ours())
