"""`python -m infra.bench.second_takes --photos DIR --groups photos.csv`: is a second photograph taken for a copy?

The photographs of one group show one scene or one sender's rooms. Every second one is registered, as a twin of its own;
the others are searched. None is a copy, so every match is false. Writes var/bench/second_takes.json.
"""

import argparse
import csv
import json
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track

from services.matching.recognition import ReferenceIndex, warm_up
from services.matching.recognition.index import Registration
from shared.fingerprints import Picture, TooPlain, Undecodable, decode, fingerprint_query, fingerprint_reference

OUT = Path("var/bench/second_takes.json")


def groups_of(listing: Path) -> dict[str, list[str]]:
    """The files of each group, by name, from a CSV with columns `file` and `group`; ValueError names one missing."""
    groups = defaultdict(list)
    with listing.open(encoding="utf-8", newline="") as stream:
        rows = csv.DictReader(stream)
        for column in ("file", "group"):
            if column not in (rows.fieldnames or ()):
                raise ValueError(f"{listing}: has no column {column!r}; got {', '.join(rows.fieldnames or ())}")
        for row in rows:
            groups[row["group"]].append(row["file"])
    return {group: sorted(files) for group, files in sorted(groups.items()) if len(files) > 1}


def split(groups: Mapping[str, Sequence[str]]) -> tuple[dict[str, str], dict[str, str]]:
    """Files to be registered and files to be searched, each with its group: every second one of a group."""
    registered = {file: group for group, files in groups.items() for file in files[::2]}
    searched = {file: group for group, files in groups.items() for file in files[1::2]}
    return registered, searched


def register(photos: Path, files: Mapping[str, str], console: Console) -> ReferenceIndex:
    """An index of these files, but for those that are too plain."""
    index, registrations = ReferenceIndex(), []
    for file in track(files, "registering", console=console, transient=True):
        made = fingerprint_reference(_picture(photos / file))
        if isinstance(made, TooPlain):
            console.print(f"not registered: {file}: {made.reason}", markup=False)
            continue
        registrations.append(Registration(file, file, True, made))
    index.add_all(registrations)
    return index


def search(index: ReferenceIndex, photos: Path, files: Mapping[str, str], console: Console) -> list[dict[str, Any]]:
    """Every match of these files: `query`, `reference`, `score`; none should be there."""
    false = []
    for file in track(files, "searching", console=console, transient=True):
        for match in index.search(fingerprint_query(_picture(photos / file)), livemode=True):
            false.append({"query": file, "reference": match.reference_id, "score": match.score})
    return false


def main() -> int:
    """Run, print, write."""
    parser = argparse.ArgumentParser(description="are second photographs of a scene taken for copies?")
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--groups", type=Path, required=True, help="a CSV with the columns file and group")
    asked, console = parser.parse_args(), Console()
    try:
        registered, searched = split(groups_of(asked.groups))
        warm_up()
        index = register(asked.photos, registered, console)
        false = search(index, asked.photos, searched, console)
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    told = {"references": len(index), "searches": len(searched), "false": false}
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    for one in false:
        console.print(f"false: {one['query']} as {one['reference']}, score {one['score']}", markup=False)
    console.print(f"{len(index)} references, {len(searched)} searches, {len(false)} false matches; written to {OUT}")
    return 0


def _picture(path: Path) -> Picture:
    picture = decode(path.read_bytes())
    if isinstance(picture, Undecodable):
        raise ValueError(f"{path}: {picture.reason}")
    return picture


if __name__ == "__main__":
    raise SystemExit(main())
