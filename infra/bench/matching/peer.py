"""The peer's side: PDQ as python-threatexchange runs it, its own signal and index with their own thresholds.

Runs in an environment of its own (requirements.lock beside this file); imports nothing of ours but `turns`.
"""

from collections.abc import Sequence
from pathlib import Path

import faiss  # type: ignore[import-not-found]
from threatexchange.signal_type.pdq.signal import PdqSignal  # type: ignore[import-not-found]

from infra.bench.matching.turns import Stages, serve


class Peer:
    """PdqSignal and the index that it names."""

    def __init__(self) -> None:
        faiss.omp_set_num_threads(1)
        self._index = PdqSignal.get_index_cls()()

    def register(self, paths: Sequence[Path]) -> int:
        """What the signal calls too poor to be hashed is left out, as its hash is empty."""
        hashed = [(PdqSignal.hash_from_bytes(path.read_bytes()), path.stem) for path in paths]
        self._index.add_all([entry for entry in hashed if entry[0]])
        return len(self._index)

    def search(self, path: Path, stages: Stages) -> list[str]:
        """From the file to the decision."""
        data = stages.timed("read", path.read_bytes)
        pdq = stages.timed("decode_and_hash", lambda: PdqSignal.hash_from_bytes(data))
        found = stages.timed("search", lambda: self._index.query(pdq)) if pdq else []
        return [match.metadata for match in found]


if __name__ == "__main__":
    serve(Peer())
