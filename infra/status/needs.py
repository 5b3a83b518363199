"""What needs a person, and the first step; values in, values out."""

from collections.abc import Iterator
from dataclasses import dataclass

from infra.status.flow import READERS, SENDERS, lag_of, oldest_of, outbox_of
from infra.status.samples import Look, Process, per_s

GROUP_STALLED_S = 60.0
OUTBOX_STUCK_S = 30.0
EXPORTER_OLD_S = 30.0
ALERT_WAITS_S = 600.0

WATCHED = ("intake", "registry", "matching", "judging", "alerts", "royalty", "exporter")
FIRST_STEPS = {
    "database": "is PostgreSQL up? `twintally stack status`",
    "relay": "is Kafka up? `twintally stack status`, then the service's log",
    "broker": "is Kafka up? `twintally stack status`",
    "lookups": "is registry running and publishing? `twintally stack logs registry`",
}


@dataclass(frozen=True)
class Need:
    """Something that does not mend itself, and what to do first."""

    what: str
    first_step: str


def needs_of(before: Look | None, now: Look) -> list[Need]:
    """What needs a person, the worst first."""
    return [
        *_of_processes(now),
        *_of_accusations(now),
        *_of_letters(now),
        *_of_streams(now),
        *_of_alerts(now),
        *_of_late_searches(now),
        *_of_marks(before, now),
    ]


def _of_processes(now: Look) -> Iterator[Need]:
    for service in WATCHED:
        if not now.of(service):
            step = f"set TWINTALLY_URL_{service.upper()}, or use --at {service}=URL"
            yield Need(f"nobody says where {service} is", step)
    for each in now.processes:
        yield from _of_process(each)


def _of_process(each: Process) -> Iterator[Need]:
    log = f"`twintally stack logs {each.service}`"
    if each.away is not None:
        yield Need(f"{each.service} does not answer at {each.address}: {each.away}", f"{log}, then start it again")
    for problem in each.unwell.values():
        step = "restart this process: what it did not confirm is worked again"
        yield Need(f"{each.service} at {each.address} stands still: {problem}", step)
    for check, problem in each.unready.items():
        # Told below, with the step that mends it.
        if check != "unreadable_lookups":
            what = f"{each.service} at {each.address} is not ready: {check}: {problem}"
            yield Need(what, FIRST_STEPS.get(check, log))


def _of_accusations(now: Look) -> Iterator[Need]:
    unreadable = now.most("judging", "twintally_judging_unreadable_lookups") or 0
    if unreadable:
        named = {each.unready.get("unreadable_lookups") for each in now.of("judging")} - {None}
        told = f": {', '.join(sorted(filter(None, named)))}" if named else ""
        step = "`twintally dlq list --consumer judging.lookups`, then replay or drop them"
        yield Need(f"accusations are stopped by {unreadable:.0f} unreadable lookup records{told}", step)
    if now.least("judging", "twintally_judging_lookups_fresh") == 0:
        waiting = now.most("judging", "twintally_judging_uses_awaiting_fresh") or 0
        what = f"lookup data is not fresh: nobody is accused, and {waiting:.0f} verdicts are withheld"
        yield Need(what, FIRST_STEPS["lookups"])


def _of_letters(now: Look) -> Iterator[Need]:
    by_consumer = now.letters.by_consumer or {}
    if count := sum(by_consumer.values()):
        told = ", ".join(f"{name} {number}" for name, number in sorted(by_consumer.items()))
        noun = "dead letter waits" if count == 1 else "dead letters wait"
        yield Need(f"{count} {noun}: {told}", "`twintally dlq list`")
    if now.letters.problem is not None:
        yield Need(f"dead letters are not known: {now.letters.problem}", "set TWINTALLY_KAFKA; is Kafka up?")


def _of_streams(now: Look) -> Iterator[Need]:
    looked_at = now.most("exporter", "twintally_exporter_looked_timestamp_seconds")
    if looked_at is not None and now.at_s - looked_at > EXPORTER_OLD_S:
        since = f"{now.at_s - looked_at:.0f} s ago" if looked_at else "never"
        yield Need(f"lag is not known: the exporter saw the broker last {since}", FIRST_STEPS["broker"])
    for group in READERS:
        lag, oldest_s = lag_of(now, group), oldest_of(now, group)
        if lag and oldest_s is not None and oldest_s > GROUP_STALLED_S:
            what = f"{group} is behind: {lag:.0f} records, the oldest for {oldest_s:.0f} s"
            yield Need(what, f"`twintally stack logs {group}`; does a worker run? One more of them takes its share")
    for service in SENDERS:
        oldest_s = outbox_of(now, service)
        if oldest_s is not None and oldest_s > OUTBOX_STUCK_S:
            yield Need(f"{service} has not sent an event for {oldest_s:.0f} s", FIRST_STEPS["relay"])


def _of_alerts(now: Look) -> Iterator[Need]:
    step = "which endpoint? GET /v1/endpoints of alerts, `twintally trace` of a case; tell the agency"
    count = sum(
        now.total("alerts", "twintally_alerts_deliveries_total", outcome=outcome) or 0
        for outcome in ("gave_up", "failed", "endpoint_gone")
    )
    if count:
        yield Need(f"{count:.0f} deliveries of alerts were given up since alerts started", step)
    oldest_s = now.most("alerts", "twintally_alerts_oldest_pending_seconds") or 0
    if oldest_s > ALERT_WAITS_S:
        yield Need(f"an alert is not delivered for {oldest_s / 60:.0f} minutes", step)


def _of_late_searches(now: Look) -> Iterator[Need]:
    # Every process tells what lies in the table they share.
    count = now.most("matching", "twintally_matching_late_given_up") or 0
    if count:
        what = f"{count:.0f} late searches were given up: posts from before a reference may not be found"
        yield Need(what, "their reason stands in `matching.late_searches`; the runbook releases them")


def _of_marks(before: Look | None, now: Look) -> Iterator[Need]:
    if per_s(before, now, "intake", "twintally_intake_marks_missed_total"):
        what = "intake reads or writes no duplicate marks: repeats are worked again, nothing is lost"
        yield Need(what, "is Valkey up? `twintally stack status`")
