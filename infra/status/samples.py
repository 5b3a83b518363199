"""What processes told in one look, and how to add it up over the processes of a service; values in, values out."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from prometheus_client.parser import text_string_to_metric_families

Key = tuple[str, tuple[tuple[str, str], ...]]


@dataclass(frozen=True)
class Process:
    """One process as it answered; `away` says why it did not, `unready` and `unwell` what its checks find wrong."""

    service: str
    address: str
    samples: Mapping[Key, float] = field(default_factory=dict)
    unready: Mapping[str, str] = field(default_factory=dict)
    unwell: Mapping[str, str] = field(default_factory=dict)
    away: str | None = None

    def values(self, metric: str, labels: Mapping[str, str]) -> Iterator[float]:
        """The values of a metric that have these labels, and perhaps others."""
        wanted = set(labels.items())
        return (value for (name, told), value in self.samples.items() if name == metric and wanted <= set(told))


@dataclass(frozen=True)
class Letters:
    """Dead letters that nobody has resolved, by consumer; None while that is not known, and why."""

    by_consumer: Mapping[str, int] | None = None
    problem: str | None = None


@dataclass(frozen=True)
class Look:
    """Everything seen at one moment (seconds since 1970)."""

    at_s: float
    processes: tuple[Process, ...]
    letters: Letters = Letters()

    def total(self, service: str, metric: str, **labels: str) -> float | None:
        """The sum over the processes; None when nobody tells."""
        found = [value for each in self.of(service) for value in each.values(metric, labels)]
        return sum(known) if (known := _known(found)) or self._answers(service) else None

    def most(self, service: str, metric: str, **labels: str) -> float | None:
        """The largest value of any process; None when nobody tells."""
        return max(_known(value for each in self.of(service) for value in each.values(metric, labels)), default=None)

    def least(self, service: str, metric: str, **labels: str) -> float | None:
        """The smallest value of any process; None when nobody tells."""
        return min(_known(value for each in self.of(service) for value in each.values(metric, labels)), default=None)

    def of(self, service: str) -> list[Process]:
        """The processes of a service."""
        return [each for each in self.processes if each.service == service]

    def _answers(self, service: str) -> bool:
        return any(each.samples for each in self.of(service))


def parse(text: str) -> dict[Key, float]:
    """The samples of a page in the text format of Prometheus; ValueError when it is none."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def per_s(before: Look | None, now: Look, service: str, metric: str, **labels: str) -> float | None:
    """How fast a counter grows, over all processes that both looks saw; None when none did.

    A counter that is lower than before was started anew: what it shows has come since.
    """
    if before is None or now.at_s <= before.at_s:
        return None
    seen = {each.address: each for each in before.of(service) if each.samples}
    both = [(seen[each.address], each) for each in now.of(service) if each.samples and each.address in seen]
    grown = (_grown(sum(old.values(metric, labels)), sum(new.values(metric, labels))) for old, new in both)
    return sum(grown) / (now.at_s - before.at_s) if both else None


def _grown(old: float, new: float) -> float:
    return new - old if new >= old else new


def _known(values: Iterator[float] | list[float]) -> list[float]:
    return [value for value in values if not math.isnan(value)]
