"""The phase of intake alone, held against a bare endpoint under the same load, by turns."""

from statistics import median
from typing import Any

from infra.bench.bare import PATH
from infra.bench.client import Job
from infra.bench.playing import Failed, send
from infra.bench.samples import median_ratio
from infra.bench.stage import BARE, Bench, wait_ready

WARM_S = 2.0
BATCH, BATCH_CONNECTIONS = 100, 4
# Nobody fetches this picture: matching does not run meanwhile.
NOBODYS_PICTURE = "https://pictures.invalid/0.jpg"


def take_in(bench: Bench) -> dict[str, Any]:
    """Single webhooks accepted per second by intake and by the bare endpoint; then batches by intake.

    Matching is stopped and stays so, as this is the last phase: what intake lets through costs nobody anything.
    """
    sizes = bench.sizes
    try:
        bench.stack.stop("matching")
        bench.stack.start(BARE)
        wait_ready(bench.stack, (BARE, "intake"))
        doors = {"intake": (bench.door, bench.secret), BARE: (bench.stack.url(BARE) + PATH, bench.bare_secret)}
        rates: dict[str, list[float]] = {name: [] for name in doors}
        with bench.steps.step(
            f"intake: {sizes.rounds} rounds of {sizes.round_s:g} s each, by turns with a bare one"
        ) as step:
            for name, door in doors.items():
                _round(door, f"warm-{name}", WARM_S, sizes.connections)
            for number in range(sizes.rounds):
                for name, door in doors.items():
                    rates[name].append(_round(door, f"single-{number}", sizes.round_s, sizes.connections))
                step(number + 1, sizes.rounds)
        with bench.steps.step(f"intake: batches of {BATCH}"):
            batches = _round(doors["intake"], "batch", sizes.round_s, BATCH_CONNECTIONS, batch=BATCH)
    finally:
        bench.stack.stop(BARE)
    return {
        "intake_ratio": round(median_ratio(rates["intake"], rates[BARE]), 4),
        "intake_per_s": round(median(rates["intake"]), 1),
        "bare_per_s": round(median(rates[BARE]), 1),
        "intake_rounds": {name: [round(rate, 1) for rate in several] for name, several in rates.items()},
        "intake_batch_items_per_s": round(batches, 1),
    }


def _round(door: tuple[str, str], prefix: str, seconds: float, connections: int, *, batch: int = 1) -> float:
    """Facts accepted per second."""
    url, secret = door
    job = Job(url, secret, prefix=prefix, url=NOBODYS_PICTURE, seconds=seconds, batch=batch, connections=connections)
    sent = send(job, seconds + 60)
    if not sent.accepted:
        raise Failed(f"{url} accepted nothing: {sent.statuses} {sent.outcomes}")
    return sent.accepted / seconds
