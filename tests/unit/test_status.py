"""The flow and what needs a person, from what processes told; no process runs here."""

import math

import pytest
from rich.console import Console

from infra.status.addresses import addresses_of
from infra.status.flow import Stage, flow_of
from infra.status.needs import needs_of
from infra.status.samples import Letters, Look, Process, parse, per_s
from infra.status.showing import as_json, shown

NOW_S = 1_795_000_000.0
HEALTHY = {
    "intake": 'twintally_intake_items_total{platform="p",outcome="accepted"} 100\n',
    "registry": "twintally_registry_outbox_oldest_unsent_seconds 0\n",
    "matching": "twintally_matching_pending_fetches 2\ntwintally_matching_index_references 7\n",
    "judging": "twintally_judging_lookups_fresh 1\ntwintally_judging_unreadable_lookups 0\n",
    "alerts": "twintally_alerts_oldest_pending_seconds 0\n",
    "royalty": 'twintally_royalty_postings_total{line="fee"} 5\n',
    "exporter": f"twintally_exporter_looked_timestamp_seconds {NOW_S - 3}\n",
}


def a_look(*processes: Process, at_s: float = NOW_S, letters: Letters | None = None, **pages: str) -> Look:
    """A healthy house in which these services tell something else; `processes` stand for their services."""
    told = {name: page for name, page in {**HEALTHY, **pages}.items() if name not in {p.service for p in processes}}
    others = (Process(name, f"http://{name}", parse(page)) for name, page in told.items())
    return Look(at_s, (*others, *processes), letters or Letters({}))


def stage_of(name: str, *looks: Look) -> Stage:
    before, now = looks if len(looks) == 2 else (None, looks[0])
    return next(stage for stage in flow_of(before, now) if stage.name == name)


def told_of(now: Look, before: Look | None = None) -> str:
    return "\n".join(f"{need.what} -> {need.first_step}" for need in needs_of(before, now))


def accepted(count: float) -> dict[str, str]:
    return {"intake": f'twintally_intake_items_total{{platform="p",outcome="accepted"}} {count}\n'}


def test_a_rate_is_what_a_counter_grew_by_in_a_second():
    before, now = a_look(at_s=NOW_S - 2, **accepted(100)), a_look(**accepted(130))
    assert stage_of("intake", before, now).per_s["accepted"] == 15.0
    assert stage_of("intake", before, now).totals["accepted"] == 130


def test_a_counter_that_was_started_anew_never_runs_backwards():
    before, now = a_look(at_s=NOW_S - 1, **accepted(100)), a_look(**accepted(4))
    assert stage_of("intake", before, now).per_s["accepted"] == 4.0


def test_a_process_that_only_one_look_saw_adds_nothing_to_a_rate():
    new = Process("intake", "http://intake-2", parse(accepted(1000)["intake"]))
    old = Process("intake", "http://intake", parse(accepted(110)["intake"]))
    before, now = a_look(at_s=NOW_S - 1, **accepted(100)), a_look(old, new)
    assert stage_of("intake", before, now).per_s["accepted"] == 10.0
    assert stage_of("intake", before, now).totals["accepted"] == 1110


def test_rates_need_two_looks_and_a_service_that_tells_nothing_has_no_numbers():
    assert per_s(None, a_look(), "intake", "twintally_intake_items_total") is None
    stage = stage_of("royalty", a_look(Process("royalty", "http://royalty", away="ConnectError")))
    assert (stage.totals["fees"], stage.lag) == (None, 0)


def test_workers_that_count_the_same_table_are_not_added_up():
    two = [Process("matching", f"http://m{n}", parse(HEALTHY["matching"])) for n in (1, 2)]
    assert stage_of("matching", a_look(*two)).levels["pending fetches"] == 2


def test_what_a_process_cannot_know_is_left_to_the_others():
    pages = (
        "twintally_judging_outbox_oldest_unsent_seconds NaN\n",
        "twintally_judging_outbox_oldest_unsent_seconds 3\n",
    )
    judging = [Process("judging", f"http://j{n}", parse(page)) for n, page in enumerate(pages)]
    assert stage_of("judging", a_look(*judging)).outbox_oldest_s == 3
    assert stage_of("judging", a_look(judging[0])).outbox_oldest_s is None


def test_lag_is_added_up_over_partitions_and_is_that_of_the_group():
    exporter = (
        'twintally_consumer_lag{group="judging",topic="sightings.v1",partition="0"} 4\n'
        'twintally_consumer_lag{group="judging",topic="sightings.v1",partition="1"} 3\n'
        'twintally_consumer_lag{group="alerts",topic="infringements.v1",partition="0"} 9\n'
        'twintally_consumer_oldest_unconfirmed_seconds{group="judging"} 61\n'
    )
    look = a_look(exporter=exporter)
    assert (stage_of("judging", look).lag, stage_of("judging", look).oldest_unconfirmed_s) == (7, 61)
    assert "judging is behind: 7 records, the oldest for 61 s" in told_of(look)
    assert "alerts is behind" not in told_of(look)


def test_a_healthy_house_needs_nobody():
    assert needs_of(a_look(at_s=NOW_S - 1), a_look()) == []


def test_each_trouble_is_named_with_its_first_step():
    judging = Process(
        "judging",
        "http://j",
        parse("twintally_judging_lookups_fresh 0\ntwintally_judging_unreadable_lookups 1\n"),
        unready={"unreadable_lookups": "licenses.v1 lic_1", "lookups": "registry's last watermark is 9 s old"},
        unwell={"stream": "4 records wait, and nothing was confirmed for 120 s"},
    )
    told = told_of(a_look(judging, letters=Letters({"judging.lookups": 1, "matching": 2})))
    assert "judging at http://j stands still: 4 records wait" in told
    assert "not ready: lookups: registry's last watermark is 9 s old -> is registry running" in told
    assert "stopped by 1 unreadable lookup records: licenses.v1 lic_1 -> `twintally dlq list --consumer" in told
    assert "nobody is accused" in told
    assert "3 dead letters wait: judging.lookups 1, matching 2 -> `twintally dlq list`" in told


@pytest.mark.parametrize(
    ("pages", "said"),
    [
        (
            {"alerts": 'twintally_alerts_deliveries_total{outcome="gave_up"} 2\n'},
            "2 deliveries of alerts were given up",
        ),
        ({"alerts": "twintally_alerts_oldest_pending_seconds 1200\n"}, "an alert is not delivered for 20 minutes"),
        ({"matching": "twintally_matching_late_given_up 3\n"}, "3 late searches were given up"),
        ({"royalty": "twintally_royalty_outbox_oldest_unsent_seconds 31\n"}, "royalty has not sent an event for 31 s"),
        ({"exporter": f"twintally_exporter_looked_timestamp_seconds {NOW_S - 90}\n"}, "saw the broker last 90 s ago"),
        ({"exporter": "twintally_exporter_looked_timestamp_seconds 0\n"}, "saw the broker last never"),
    ],
)
def test_what_is_stuck_is_told(pages, said):
    assert said in told_of(a_look(**pages))


def test_a_service_that_is_away_or_nowhere_is_told():
    look = a_look(Process("royalty", "http://r", away="ConnectError"))
    assert "royalty does not answer at http://r: ConnectError -> `twintally stack logs royalty`" in told_of(look)
    assert "nobody says where alerts is -> set TWINTALLY_URL_ALERTS" in told_of(Look(NOW_S, ()))


def test_missed_marks_are_told_while_they_are_missed():
    missed = [a_look(at_s=NOW_S + n, intake=f"twintally_intake_marks_missed_total {n}\n") for n in (0, 1)]
    assert "is Valkey up?" in told_of(missed[1], missed[0])
    assert told_of(missed[1], missed[1]) == ""


def test_json_holds_no_number_that_json_does_not_know():
    look = a_look(judging="twintally_judging_lookups_fresh 0\ntwintally_judging_lookups_age_seconds +Inf\n")
    told = as_json(look, flow_of(None, look), needs_of(None, look))
    [judging] = [stage for stage in told["stages"] if stage["name"] == "judging"]
    assert judging["levels"]["age s"] is None
    assert math.isinf(stage_of("judging", look).levels["age s"] or 0)
    assert told["dead_letters"] == {"open": 0, "by_consumer": {}, "problem": None}


def test_the_page_begins_with_what_needs_a_person_and_says_unknown_as_a_dash():
    look = a_look(Process("royalty", "http://r", away="[red]x\x1b[2J"), letters=Letters(problem="KafkaError"))
    console = Console(width=120, record=True, file=None, force_terminal=False)
    with console.capture() as captured:
        console.print(shown(look, flow_of(None, look), needs_of(None, look)))
    page = captured.get()
    assert page.startswith("What needs a person")
    assert "[red]x\\x1b[2J" in page
    assert "fees -, reversals -" in page
    assert "fresh yes" in page


def test_addresses_come_from_options_then_the_environment_then_the_local_stack():
    local = {"intake": ("http://127.0.0.1:1",), "matching": ("http://127.0.0.1:2", "http://127.0.0.1:3")}
    environment = {"TWINTALLY_URL_INTAKE": "http://a:1, http://b:1/"}
    found = addresses_of(environment, local, ["judging=http://j:1", "judging=http://j:2"])
    assert found == {
        "intake": ("http://a:1", "http://b:1"),
        "matching": ("http://127.0.0.1:2", "http://127.0.0.1:3"),
        "judging": ("http://j:1", "http://j:2"),
    }


@pytest.mark.parametrize(
    ("environment", "given", "said"),
    [
        ({}, ["nobody=http://a:1"], "--at nobody=http://a:1: must be SERVICE=ADDRESS"),
        ({}, ["intake=nowhere"], "--at intake: must be http://host:port"),
        ({"TWINTALLY_URL_ROYALTY": "ftp://x"}, [], "TWINTALLY_URL_ROYALTY: must be http://host:port"),
    ],
)
def test_a_wrong_address_is_refused_by_its_name(environment, given, said):
    with pytest.raises(ValueError, match="must be") as refused:
        addresses_of(environment, {}, given)
    assert said in str(refused.value)
