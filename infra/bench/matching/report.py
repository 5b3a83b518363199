"""What the rounds come to; values in, values out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from infra.bench.matching.pictures import shown_by, source_of
from infra.bench.matching.turns import Searched

GOAL = 4.0


@dataclass
class Side:
    """What one side answered: every query of every round."""

    references: int
    rounds: list[dict[Path, Searched]] = field(default_factory=list)

    @property
    def every(self) -> list[tuple[Path, Searched]]:
        """All searches of all rounds."""
        return [answer for one in self.rounds for answer in one.items()]


def mean_ms(answers: Sequence[tuple[Path, Searched]]) -> float:
    """Processor milliseconds per query."""
    return sum(answer.ms for _, answer in answers) / len(answers) if answers else 0.0


def stages_ms(answers: Sequence[tuple[Path, Searched]]) -> dict[str, float]:
    """Processor milliseconds per query by stage; what no stage counts is `other`."""
    names = list(dict.fromkeys(name for _, answer in answers for name in answer.stages))
    told = {name: sum(answer.stages.get(name, 0.0) for _, answer in answers) / len(answers) for name in names}
    told["other"] = max(0.0, mean_ms(answers) - sum(told.values()))
    return {name: round(ms, 3) for name, ms in told.items()}


def found_and_false(answers: Mapping[Path, Searched]) -> tuple[float, int]:
    """Share of the queries that show a source in which it was found, and references of other sources returned."""
    showing = found = false = 0
    for query, answer in answers.items():
        shown, sources = shown_by(query), [source_of(name) for name in answer.found]
        showing += shown is not None
        found += shown in sources
        false += sum(source != shown for source in sources)
    return found / max(1, showing), false


def report_of(ours: Side, peer: Side, pictures: str) -> dict[str, Any]:
    """The report; `ratio` is the median of the rounds' ratios of images per core-second."""
    pairs = zip(ours.rounds, peer.rounds, strict=True)
    ratios = [mean_ms(list(theirs.items())) / mean_ms(list(mine.items())) for mine, theirs in pairs]
    showing = [answer for answer in ours.every if shown_by(answer[0]) is not None]
    strangers = [answer for answer in ours.every if shown_by(answer[0]) is None]
    recall, false = found_and_false(ours.rounds[0])
    peer_recall, peer_false = found_and_false(peer.rounds[0])
    return {
        "ratio": round(median(ratios), 3),
        "goal": GOAL,
        "ours_ms": round(mean_ms(ours.every), 3),
        "peer_ms": round(mean_ms(peer.every), 3),
        "ours_none_ms": round(mean_ms(strangers), 3),
        "ours_showing_ms": round(mean_ms(showing), 3),
        "stages": stages_ms(ours.every),
        "stages_none": stages_ms(strangers),
        "peer_stages": stages_ms(peer.every),
        "recall": round(recall, 4),
        "false_matches": false,
        "peer_recall": round(peer_recall, 4),
        "peer_false_matches": peer_false,
        "ratios": [round(ratio, 3) for ratio in ratios],
        "queries": len(ours.rounds[0]),
        "showing": sum(shown_by(query) is not None for query in ours.rounds[0]),
        "references": ours.references,
        "peer_references": peer.references,
        "pictures": pictures,
    }
