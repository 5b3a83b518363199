"""Names of parties: they stay in the registry, so the pages ask for them; without an answer the id stands there."""

import asyncio
from collections.abc import Iterable, Mapping
from urllib.parse import quote

from services.console.answers import CaseRow, Named
from services.console.session import Session
from services.console.upstream import Away, KeyRefused, Refused, Services
from shared.events import Role

AT_ONCE = 8
DEADLINE_S = 2.0
# Where registry keeps a kind, and which roles it tells names to: asking for others would be refused, so it is not done.
KINDS: Mapping[str, tuple[str, frozenset[Role]]] = {
    "agency": ("/v1/agencies", frozenset({"agency", "finance", "operator"})),
    "talent": ("/v1/talents", frozenset({"agency", "talent", "operator"})),
    "twin": ("/v1/twins", frozenset({"agency", "talent", "operator"})),
    "brand": ("/v1/brands", frozenset({"agency", "talent", "brand", "finance", "operator"})),
}

Party = str
"""`kind:id`, as payees are written."""


async def names_of(services: Services, session: Session, parties: Iterable[Party]) -> dict[Party, str]:
    """The names that can be had in a moment. Never a reason for a page to fail or to be late."""
    names: dict[Party, str] = {}
    turns = asyncio.Semaphore(AT_ONCE)

    async def find(party: Party) -> None:
        kind, _, party_id = party.partition(":")
        path, roles = KINDS.get(kind, ("", frozenset()))
        if session.role not in roles:
            return
        async with turns:
            try:
                found = await services.get("registry", f"{path}/{quote(party_id, safe='')}", session, Named)
            except (Away, Refused, KeyRefused):
                return
        names[party] = found.name

    tasks = [asyncio.create_task(find(party)) for party in sorted(set(parties))]
    if tasks:
        _, late = await asyncio.wait(tasks, timeout=DEADLINE_S)
        for task in late:
            task.cancel()
    return names


def parties_in(cases: Iterable[CaseRow]) -> set[Party]:
    """Whose names a page about these cases shows."""
    parties: set[Party] = set()
    for case in cases:
        parties |= {f"twin:{case.twin_id}", f"talent:{case.talent_id}"}
        if case.brand_id:
            parties.add(f"brand:{case.brand_id}")
    return parties
