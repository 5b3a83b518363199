"""On usage: load what stands, decide, book."""

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from services.royalty.domain import Booked, Outcome, Repeated, Sandbox, Standing, Transaction, Unchanged, book
from shared.events import UsageState


class Ledger(Protocol):
    """The ledger inside one transaction of its database."""

    async def standings_of(self, use_ids: Collection[str]) -> Mapping[str, Standing]:
        """What is known of these uses; each is locked until the transaction ends."""

    async def book(self, transactions: Sequence[Transaction]) -> None:
        """Append transactions in the open booking period, each with its event."""

    async def remember(self, standings: Mapping[str, Standing]) -> None:
        """Keep what is known of these uses from now on."""


async def on_usages(usages: Sequence[UsageState], ledger: Ledger) -> list[Outcome]:
    """Book what these states of usage say, in their order; returns what became of each."""
    live = {usage.use_id for usage in usages if usage.livemode}
    standings = dict(await ledger.standings_of(live))
    outcomes: list[Outcome] = []
    moved: dict[str, Standing] = {}
    for usage in usages:
        outcome = book(usage, standings.get(usage.use_id, Standing()))
        match outcome:
            case Booked(standing=standing) | Unchanged(standing=standing):
                standings[usage.use_id] = moved[usage.use_id] = standing
            case Repeated() | Sandbox():
                pass
        outcomes.append(outcome)
    await ledger.book([made for outcome in outcomes if isinstance(outcome, Booked) for made in outcome.transactions])
    await ledger.remember(moved)
    return outcomes
