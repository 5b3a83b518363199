"""Which references this worker's index knows, held against those that any worker ever added.

The order of things, so that a reference and a query never miss each other. An *addition* is a new state of a reference
that may be found. The first worker that reads it stores it (`announce` in addition_store.py), with a number that grows,
and with its late search over the queries stored so far, in one transaction under the exclusive lock. A transaction that
stores the outcome of a search holds the same lock shared, from before it reads the additions until it commits. So for
every outcome and every addition, one of them came first:

- the outcome committed first: the late search, which is older than no outcome that it must see, finds it in the table;
- the addition committed first: the outcome's transaction reads it. Either the index knew it when that search began, and
  the search itself has found what there was, or it did not, and the transaction stores a late search of that one
  reference in that one image. It commits with the outcome, so no crash comes in between.

No clock, no waiting for other workers, and a worker whose index is late or cannot read a reference costs only the late
searches that its outcomes ask for: of each addition one row, whose range grows until somebody claims it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Moment:
    """How much an index knew: its changes until then, and every addition up to a number but those of the gaps."""

    step: int = 0
    known_to: int = 0
    gaps: tuple[str, ...] = ()


@dataclass(frozen=True)
class Addition:
    """A reference that may be found since the addition of this number."""

    number: int
    reference_id: str
    revision: int
    livemode: bool


class Knowledge:
    """What the index of this process has learnt, and when."""

    def __init__(self) -> None:
        self._step = 0
        self._known_to = 0
        self._learnt: dict[str, tuple[int, int]] = {}
        # The revisions of additions up to `_known_to` that the index does not know, by their references.
        self._gaps: dict[str, int] = {}

    def now(self) -> Moment:
        """To be taken before a search reads the index: what is learnt meanwhile counts as unknown to it."""
        return Moment(self._step, self._known_to, tuple(self._gaps))

    def learnt(self, revisions: Iterable[tuple[str, int]]) -> None:
        """The index has been changed to these revisions of references; to be called after the change."""
        self._step += 1
        for reference_id, revision in revisions:
            self._learnt[reference_id] = (revision, self._step)
            if self._gaps.get(reference_id, revision + 1) <= revision:
                del self._gaps[reference_id]

    def revision(self, reference_id: str) -> int:
        """The revision that the index knows; 0 when it knows none."""
        return self._learnt.get(reference_id, (0, 0))[0]

    def lacked(self, additions: Sequence[Addition], moment: Moment) -> list[Addition]:
        """Those that the index did not know at a moment, of all additions above its `known_to` or in its gaps.

        None of them is to be read again for a later moment, but those that the index does not know even now.
        """
        lacking = []
        for addition in additions:
            revision, step = self._learnt.get(addition.reference_id, (0, 0))
            if revision < addition.revision or step > moment.step:
                lacking.append(addition)
            if revision < addition.revision:
                self._gaps[addition.reference_id] = max(addition.revision, self._gaps.get(addition.reference_id, 0))
            self._known_to = max(self._known_to, addition.number)
        return lacking
