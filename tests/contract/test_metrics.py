"""docs/metrics.md lists what the processes really publish, no more and no less."""

import importlib
import re
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from infra.local.services import SERVICES

ROW = re.compile(r"^\| `(twintally_\w+)` \| ([\w, ]*)\| (.+) \|$", re.MULTILINE)

Listed = dict[str, tuple[str, ...]]


@pytest.fixture(scope="module")
def published() -> Listed:
    """The labels of each metric that any process registers, by the name that Prometheus sees."""
    for service in SERVICES.values():
        importlib.import_module(f"{service.command[-1]}.__main__")
    found: Listed = {}
    for collector in list(REGISTRY._collector_to_names):
        name = getattr(collector, "_name", "")
        if name.startswith("twintally_"):
            suffix = "_total" if collector._type == "counter" else ""
            found[f"{name}{suffix}"] = tuple(collector._labelnames)
    return found


def listed(project: Path) -> Listed:
    rows = ROW.findall((project / "docs" / "metrics.md").read_text())
    assert len({name for name, *_ in rows}) == len(rows)
    return {name: tuple(re.findall(r"\w+", labels)) for name, labels, _ in rows}


def test_every_metric_that_a_process_publishes_is_listed_with_its_labels(project: Path, published: Listed) -> None:
    table = listed(project)
    assert {name: labels for name, labels in published.items() if table.get(name) != labels} == {}


def test_no_metric_is_listed_that_no_process_publishes(project: Path, published: Listed) -> None:
    assert sorted(listed(project).keys() - published.keys()) == []


def test_the_page_speaks_of_no_metric_that_it_does_not_list(project: Path) -> None:
    named = set(re.findall(r"twintally_\w+", (project / "docs" / "metrics.md").read_text()))
    assert named <= listed(project).keys()
