"""A service's README says what is true: its topics and its metrics."""

import importlib
import re
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from infra.kafka.layout import read_layout
from infra.local.services import SERVICES


def readme(project: Path, service: str) -> str:
    return (project / "services" / service / "README.md").read_text()


WITH_README = [name for name in SERVICES if name != "exporter"]


@pytest.mark.parametrize("service", WITH_README)
def test_a_readme_names_exactly_the_metrics_that_are_published(project: Path, service: str) -> None:
    importlib.import_module(f"services.{service}.metrics")
    published = {
        name
        for name in REGISTRY._names_to_collectors
        if name.startswith(f"twintally_{service}_") and not name.endswith(("_created", "_bucket", "_count", "_sum"))
    }
    families = {name for name in published if f"{name}_total" not in published}
    assert set(re.findall(rf"twintally_{service}_\w+", readme(project, service))) == families


@pytest.mark.parametrize("service", [name for name in WITH_README if name != "console"])
def test_a_readme_names_the_topics_that_the_layout_gives_its_service(project: Path, service: str) -> None:
    layout = read_layout().topics
    named = set(re.findall(r"`([a-z]+\.v1)`", readme(project, service)))
    listens = {name for name, topic in layout.items() if service in topic.consumers}
    assert listens <= named


@pytest.mark.parametrize("service", WITH_README)
def test_a_readme_is_one_screen(project: Path, service: str) -> None:
    assert len(readme(project, service).splitlines()) <= 60
