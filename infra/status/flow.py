"""The stages of the flow with their rates and what waits in them, from two looks; values in, values out."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from infra.status.samples import Look, per_s

How = Literal["total", "most", "least"]

# Per stage: what is counted there, by the name it is shown with; a metric, and the label that picks its part.
COUNTED: Mapping[str, Mapping[str, tuple[str, Mapping[str, str]]]] = {
    "registry": {"changes": ("twintally_registry_changes_total", {})},
    "intake": {
        name: ("twintally_intake_items_total", {"outcome": outcome})
        for name, outcome in (
            ("accepted", "accepted"),
            ("duplicates", "duplicate"),
            ("invalid", "invalid"),
            ("not sent", "not_sent"),
        )
    },
    "matching": {
        "facts": ("twintally_matching_facts_total", {}),
        "sightings": ("twintally_matching_sightings_total", {}),
        "uses": ("twintally_matching_uses_published_total", {}),
    },
    "judging": {
        verdict: ("twintally_judging_verdicts_total", {"verdict": verdict})
        for verdict in ("licensed", "out_of_scope", "unlicensed", "no_use")
    },
    "alerts": {
        name: ("twintally_alerts_deliveries_total", {"outcome": outcome})
        for name, outcome in (("delivered", "delivered"), ("to try again", "try_again"), ("given up", "gave_up"))
    },
    "royalty": {
        "fees": ("twintally_royalty_postings_total", {"line": "fee"}),
        "reversals": ("twintally_royalty_postings_total", {"line": "reversal"}),
    },
}

# How a number of now adds up: each process counts its own, or all of them look at the same table.
LEVELS: Mapping[str, Mapping[str, tuple[str, How]]] = {
    "registry": {},
    "intake": {"unacknowledged": ("twintally_intake_unacknowledged", "total")},
    "matching": {
        "pending fetches": ("twintally_matching_pending_fetches", "most"),
        "oldest fetch s": ("twintally_matching_oldest_pending_fetch_seconds", "most"),
        "references": ("twintally_matching_index_references", "least"),
        "index age s": ("twintally_matching_index_age_seconds", "most"),
    },
    "judging": {
        "fresh": ("twintally_judging_lookups_fresh", "least"),
        "age s": ("twintally_judging_lookups_age_seconds", "most"),
        "withheld": ("twintally_judging_uses_awaiting_fresh", "most"),
        "to judge again": ("twintally_judging_uses_to_judge_again", "most"),
        "unreadable lookups": ("twintally_judging_unreadable_lookups", "most"),
    },
    "alerts": {
        "under way": ("twintally_alerts_attempts_under_way", "total"),
        "oldest alert s": ("twintally_alerts_oldest_pending_seconds", "most"),
    },
    "royalty": {},
}
STAGES = tuple(COUNTED)
READERS = ("matching", "judging", "alerts", "royalty")
SENDERS = ("registry", "matching", "judging", "alerts", "royalty")


@dataclass(frozen=True)
class Stage:
    """One stage: what went through it, and what waits; None: nobody tells."""

    name: str
    per_s: Mapping[str, float | None]
    totals: Mapping[str, float | None]
    lag: float | None
    oldest_unconfirmed_s: float | None
    outbox_oldest_s: float | None
    levels: Mapping[str, float | None]


def flow_of(before: Look | None, now: Look) -> list[Stage]:
    """Every stage in the order of the story; rates come from the look before."""
    return [_stage(name, before, now) for name in STAGES]


def lag_of(look: Look, group: str) -> float | None:
    """How many records a group has not confirmed, as the exporter tells."""
    return look.total("exporter", "twintally_consumer_lag", group=group)


def oldest_of(look: Look, group: str) -> float | None:
    """The age of the oldest of them."""
    return look.most("exporter", "twintally_consumer_oldest_unconfirmed_seconds", group=group)


def outbox_of(look: Look, service: str) -> float | None:
    """The age of the oldest event that is not in Kafka."""
    return look.most(service, f"twintally_{service}_outbox_oldest_unsent_seconds")


def _stage(name: str, before: Look | None, now: Look) -> Stage:
    reads = name in READERS
    return Stage(
        name=name,
        per_s={shown: per_s(before, now, name, metric, **label) for shown, (metric, label) in COUNTED[name].items()},
        totals={shown: now.total(name, metric, **label) for shown, (metric, label) in COUNTED[name].items()},
        lag=lag_of(now, name) if reads else None,
        oldest_unconfirmed_s=oldest_of(now, name) if reads else None,
        outbox_oldest_s=outbox_of(now, name) if name in SENDERS else None,
        levels={shown: _level(now, name, metric, how) for shown, (metric, how) in LEVELS[name].items()},
    )


def _level(look: Look, service: str, metric: str, how: How) -> float | None:
    match how:
        case "total":
            return look.total(service, metric)
        case "most":
            return look.most(service, metric)
        case "least":
            return look.least(service, metric)
