"""A person on call follows a post through all services, and sees the flow as it is, with commands alone."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.system.pictures import cropped, draw, jpeg
from tests.system.test_path import Agency, make_agency
from tests.system.world import World, eventually

# The first test starts the house, and each command starts an interpreter.
pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module")
def agency(world: World) -> Agency:
    return make_agency(world, seed=41)


@pytest.fixture(scope="module")
def command(world: World, project: Path) -> Any:
    """Runs `twintally` beside the house, as its operator."""

    def run(*arguments: str, code: int = 0, **environment: str) -> str:
        env = {**os.environ, "TWINTALLY_API_KEY": world.operator_key, "COLUMNS": "160", **environment}
        done = subprocess.run(
            [sys.executable, "-m", "infra.cli", *arguments, "--dir", str(world.stack.directory)],
            env=env,
            cwd=project,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    return run


def traced(command: Any, *post: str, **environment: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(command("trace", *post, "--json", **environment))
    return found


def ends(found: dict[str, Any]) -> str:
    return " / ".join(f"{end['service']}: {end['why']}" for end in found["ends"])


def test_a_licensed_post_is_followed_from_its_fact_to_the_ledger(agency: Agency, command: Any) -> None:
    agency.license(territories=["DE"])
    post_id = f"seen-{agency.agency_id}"
    event_id = agency.publish(post_id, jpeg(cropped(agency.picture), 60))["event_id"]
    eventually(lambda: agency.statement(f"talent:{agency.talent_id}"))
    found = traced(command, agency.platform, post_id)
    services = found["services"]
    [use_id] = found["use_ids"]
    [fact] = services["intake"]["facts"]
    [use] = services["judging"]["uses"]
    [booked] = services["royalty"]["transactions"]
    [[image]] = [version["media"] for version in services["matching"]["versions"]]
    assert (fact["event_id"], fact["kind"]) == (event_id, "published")
    assert fact["stored_at"] >= fact["occurred_at"]
    assert (image["state"], image["sightings"][0]["twin_id"]) == ("matched", agency.twin_id)
    assert services["matching"]["uses"][0]["revision"] == use["seen_revision"]
    assert services["matching"]["uses"][0]["states"][-1]["sent_at"] is not None
    assert (use["use_id"], use["verdict"], use["usage"], use["infringement"]) == (use_id, "licensed", "active", None)
    assert [then["verdict"] for then in use["history"]] == ["licensed"]
    assert (booked["use_id"], booked["line"]) == (use_id, "fee")
    assert {step["service"] for step in found["steps"]} == {"intake", "matching", "judging", "royalty"}
    assert "the trail is whole" in ends(found)
    assert found["away"] == {}


def test_a_person_reads_the_same_by_a_use_id_or_an_event_id(agency: Agency, command: Any) -> None:
    found = traced(command, f"{agency.platform}:seen-{agency.agency_id}")
    [booked] = found["services"]["royalty"]["transactions"]
    [fact] = found["services"]["intake"]["facts"]
    for page in (command("trace", found["use_ids"][0]), command("trace", fact["event_id"])):
        assert "payable:talent" in page
        assert booked["transaction_id"] in page


def test_an_accusation_is_followed_to_the_attempt_of_its_alert(agency: Agency, command: Any, world: World) -> None:
    post_id = f"accused-{agency.agency_id}"
    agency.publish(post_id, jpeg(cropped(agency.picture), 61), account="a-stranger")
    eventually(lambda: any(post_id in str(told) for told in world.receiver.alerts(agency.alert_secret)))
    found = eventually(
        lambda: found if "was delivered" in ends(found := traced(command, agency.platform, post_id)) else None
    )
    [case] = found["services"]["alerts"]["cases"]
    [use] = found["services"]["judging"]["uses"]
    assert (case["use_id"], use["verdict"], use["infringement"]) == (found["use_ids"][0], "unlicensed", "open")
    assert case["alerts"][0]["deliveries"][0]["attempts"] == 1
    assert any("delivered after 1 attempt" in step["text"] for step in found["steps"])


def test_a_trail_that_ends_early_says_why(agency: Agency, command: Any) -> None:
    nobody, missing = f"nobody-{agency.agency_id}", f"missing-{agency.agency_id}"
    agency.publish(nobody, jpeg(draw(998), 80))
    agency.tell(missing, {"url": f"http://{agency.world.images.address}/no-such-image"})
    found = eventually(lambda: known(command, agency.platform, nobody))
    assert "no registered twin was recognised in 1 of 1 images" in ends(found)
    assert found["use_ids"] == []
    found = eventually(lambda: known(command, agency.platform, missing))
    assert "could not be fetched and is not tried again: the host answered 404" in ends(found)


def known(command: Any, platform: str, post_id: str) -> dict[str, Any] | None:
    """The post, once its images are no longer being looked at."""
    try:
        found = traced(command, platform, post_id)
    except AssertionError:
        return None
    return None if "being looked at" in ends(found) else found


def test_a_post_that_nobody_knows_is_exit_code_1_with_what_to_check(agency: Agency, command: Any) -> None:
    told = command("trace", agency.platform, "never-sent", code=1)
    assert f"No service knows {agency.platform} never-sent" in told
    assert "Its answer to the webhook" in told
    assert "names no post" in command("trace", "only-a-word", code=1)


def test_a_service_that_is_away_is_named_and_the_others_still_tell(agency: Agency, command: Any) -> None:
    away = {"TWINTALLY_URL_ROYALTY": "http://127.0.0.1:9", "TWINTALLY_URL_MATCHING": "http://127.0.0.1:9"}
    found = traced(command, agency.platform, f"seen-{agency.agency_id}", **away)
    assert set(found["away"]) == {"matching", "royalty"}
    assert "does not answer at http://127.0.0.1:9" in found["away"]["royalty"]
    assert found["services"]["judging"]["uses"][0]["verdict"] == "licensed"


def test_another_ones_key_sees_no_posts(agency: Agency, command: Any) -> None:
    post_id = f"seen-{agency.agency_id}"
    told = traced(command, agency.platform, post_id, TWINTALLY_API_KEY=agency.key)
    assert "may not do this" in told["away"]["matching"]
    assert told["services"]["matching"] is None


def test_the_status_adds_up_the_house_and_names_what_needs_a_person(agency: Agency, command: Any) -> None:
    told = json.loads(command("status", "--json"))
    stages = {stage["name"]: stage for stage in told["stages"]}
    assert list(stages) == ["registry", "intake", "matching", "judging", "alerts", "royalty"]
    assert stages["intake"]["totals"]["accepted"] >= 3
    assert stages["matching"]["totals"]["sightings"] >= 1
    assert stages["judging"]["totals"]["licensed"] >= 1
    assert stages["alerts"]["totals"]["delivered"] >= 1
    assert stages["royalty"]["totals"]["fees"] >= 1
    assert stages["matching"]["levels"]["references"] >= 1
    assert stages["judging"]["levels"]["fresh"] == 1
    assert all(rate is not None for stage in stages.values() for rate in stage["per_s"].values())
    assert all(stages[name]["lag"] is not None for name in ("matching", "judging", "alerts", "royalty"))
    assert all(stages[name]["outbox_oldest_s"] < 30 for name in ("registry", "matching", "judging", "royalty"))
    assert told["dead_letters"]["problem"] is None
    assert {each["service"] for each in told["processes"] if each["ready"]} >= {"intake", "royalty", "exporter"}
    away = json.loads(command("status", "--json", "--at", "royalty=http://127.0.0.1:9"))
    assert any("royalty does not answer at http://127.0.0.1:9" in need["what"] for need in away["needs"])
    assert "Per second" in command("status", "--once")
