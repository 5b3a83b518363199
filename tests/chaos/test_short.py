"""The short version of `make test-chaos`: every service and every part is killed or restarted in full flow."""

import os
import random

import pytest
from rich.console import Console

from tests.chaos.play import FOLDER, Plan, play, tell

KILLS = 28


@pytest.mark.timeout(600)
def test_nothing_is_lost_and_nothing_billed_twice_while_everything_is_killed() -> None:
    seed = int(os.environ.get("TWINTALLY_CHAOS_SEED") or random.SystemRandom().randrange(10**6))
    console = Console(width=160)
    report = play(Plan(seed, KILLS), FOLDER / "short", console)
    report.save(FOLDER / "short" / "report.json")
    tell(report, console)
    assert not report.problems()
