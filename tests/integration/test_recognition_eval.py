"""Recognition on photos: a small part of the evaluation kit, whose folder TWINTALLY_EVALUATION_KIT names."""

import csv
import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from services.matching.recognition.folder import search_folder

BESIDE = Path(__file__).resolve().parents[2].parent / "shared" / "eval"
KIT = Path(os.environ.get("TWINTALLY_EVALUATION_KIT") or BESIDE)
NEEDED = "needs the evaluation kit; name its folder in TWINTALLY_EVALUATION_KIT"
SEED = 5
POSITIVES, NEGATIVES = 260, 200
RECALL_MIN = 0.92

pytestmark = [
    pytest.mark.skipif(not (KIT / "make_edits.py").is_file(), reason=NEEDED),
    pytest.mark.timeout(240),
]


def a_sample(folder: Path) -> dict[str, frozenset[str]]:
    """Write a small set of references and queries; returns the references that each query shows."""
    made = [sys.executable, "make_edits.py", "--photos", "photos", "--out", str(folder), "--seed", str(SEED)]
    subprocess.run([*made, "--per-edit", "4", "--jobs", "1"], cwd=KIT, check=True, capture_output=True, timeout=120)
    with (folder / "truth.csv").open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    chance = random.Random(SEED)
    positives = chance.sample([row for row in rows if row["kind"] == "positive"], POSITIVES)
    negatives = chance.sample([row for row in rows if row["kind"] == "negative"], NEGATIVES)
    chosen = {row["query"]: frozenset(filter(None, row["references"].split(";"))) for row in positives + negatives}
    for path in (folder / "queries").iterdir():
        if path.name not in chosen:
            path.unlink()
    return chosen


def test_edited_copies_are_found_and_nothing_else_is(tmp_path):
    truth, out = a_sample(tmp_path), tmp_path / "results.jsonl"
    search_folder(tmp_path / "references", tmp_path / "queries", out, 1)
    rows = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert {row["query"] for row in rows} == set(truth)
    answers = {row["query"]: {match["reference"] for match in row["matches"]} for row in rows}
    wrong = {query: shown - truth[query] for query, shown in answers.items() if shown - truth[query]}
    assert wrong == {}
    found = sum(len(shown & truth[query]) for query, shown in answers.items())
    assert found / sum(map(len, truth.values())) >= RECALL_MIN
