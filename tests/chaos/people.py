"""Who goes on meanwhile: platforms that send until they are answered, people who change their minds."""

import random
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx2

from infra.demo import setting
from infra.demo.cast import License
from infra.demo.house import DemoError, House
from infra.demo.story import Fact
from infra.demo.watching import item_of
from tests.chaos.arena import Arena
from tests.chaos.tale import DRIFT, DRIFT_ACCOUNTS, HOUR, Post

WINDOW = 25
REPEATED = 0.25
BATCH_MAX = 4
PAUSE_S = 0.3
PATIENCE_S = 180.0


@dataclass
class Ledger:
    """What was sent, and what intake answered."""

    posts: list[Post] = field(default_factory=list)
    event_ids: dict[Fact, str] = field(default_factory=dict)
    answers: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def count(self, answer: str) -> None:
        with self.lock:
            self.answers[answer] = self.answers.get(answer, 0) + 1


class Platforms:
    """Sends posts out of order, some facts twice, each until it is accepted; two at a time."""

    def __init__(self, arena: Arena, posts: Iterator[Post], ledger: Ledger, *, per_s: float, seed: int) -> None:
        self._arena = arena
        self._posts = posts
        self._ledger = ledger
        self._per_s = per_s
        self._chance = random.Random(seed)
        self._window: list[Fact] = []
        self._enough = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._run, name=f"platform-{number}") for number in range(2)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def finish(self) -> None:
        """No new posts; returns when everything that was begun has been accepted."""
        self._enough.set()
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        while facts := self._next():
            began = time.monotonic()
            self._send(facts)
            time.sleep(max(0.0, len(facts) * len(self._threads) / self._per_s - (time.monotonic() - began)))

    def _next(self) -> list[Fact]:
        with self._lock:
            while len(self._window) < WINDOW and not self._enough.is_set():
                post = next(self._posts)
                self._ledger.posts.append(post)
                self._window += post.facts
                self._window += [fact for fact in post.facts if self._chance.random() < REPEATED]
            if not self._window:
                return []
            facts = [self._window.pop(self._chance.randrange(len(self._window)))]
            same = [fact for fact in self._window if fact.platform == facts[0].platform and fact not in facts]
            for fact in same[: self._chance.randrange(BATCH_MAX)]:
                if fact not in facts:
                    self._window.remove(fact)
                    facts.append(fact)
            return facts

    def _send(self, facts: list[Fact]) -> None:
        """Until each is accepted or known; the two processes of intake take turns."""
        houses = [self._arena.house, self._arena.house_of_seconds]
        self._chance.shuffle(houses)
        until, turn = time.monotonic() + PATIENCE_S, 0
        while facts and time.monotonic() < until:
            house = houses[turn % 2]
            turn += 1
            facts = self._once(house, facts)
            if facts:
                time.sleep(PAUSE_S)
        if facts:
            with self._ledger.lock:
                self._ledger.problems += [f"not accepted within {PATIENCE_S:g} s: {fact}" for fact in facts]

    def _once(self, house: House, facts: list[Fact]) -> list[Fact]:
        """Send once; what is to be sent again."""
        items = [item_of(fact, self._arena.at.hosts) for fact in facts]
        try:
            answer = house.post(facts[0].platform, {"items": items} if len(items) > 1 else items[0])
        except httpx2.HTTPError as error:
            self._ledger.count(type(error).__name__)
            return facts
        self._ledger.count(str(answer.status_code))
        if answer.status_code != 202:
            if answer.status_code not in (401, 429, 503):
                with self._ledger.lock:
                    self._ledger.problems.append(f"intake answered {answer.status_code}: {answer.text[:300]}")
            return facts
        return self._learn(facts, answer.json()["results"])

    def _learn(self, facts: list[Fact], results: list[dict[str, Any]]) -> list[Fact]:
        again = []
        for fact, result in zip(facts, results, strict=True):
            self._ledger.count(result["outcome"])
            if result["outcome"] in ("accepted", "duplicate"):
                with self._ledger.lock:
                    known = self._ledger.event_ids.setdefault(fact, result["event_id"])
                    if known != result["event_id"]:
                        self._ledger.problems.append(f"{fact.kind} of {fact.post} has two ids: {known} and another")
            else:
                again.append(fact)
        return again


def changes(arena: Arena) -> list[Callable[[House], None]]:
    """What people change while posts stream in, each once and each until registry has it."""
    cast = arena.cast
    late = list(cast.late.values())
    return [
        _granted(arena, late[0]),
        lambda house: _withdraw_consent(arena, house, "t08"),
        lambda house: _new_version(arena, house, cast.licenses["t01-acme"]),
        lambda house: _give_accounts(house),
        lambda house: _terminate(arena, house, "t07-acme"),
        _granted(arena, late[1]),
        lambda house: _new_version(arena, house, cast.licenses["t02-borealis"]),
    ]


def until_done(arena: Arena, change: Callable[[House], None]) -> None:
    """Make a change through whichever process of registry answers."""
    until = time.monotonic() + PATIENCE_S
    houses = [arena.house, arena.house_of_seconds]
    while True:
        try:
            change(houses[0])
        except (httpx2.HTTPError, DemoError):
            if time.monotonic() > until:
                raise
            houses.reverse()
            time.sleep(PAUSE_S)
        else:
            return


def _granted(arena: Arena, license: License) -> Callable[[House], None]:
    return lambda house: setting.grant(house, arena.cast, license)


def _withdraw_consent(arena: Arena, house: House, twin: str) -> None:
    key = house.keys[arena.cast.talents[twin].agency]
    known = house.call("registry", "GET", "/v1/consents", key=key, params={"limit": "100"})
    consent = next(each for each in known if each["twin_id"] == house.ids[f"twin:{twin}"])
    path = f"/v1/consents/{consent['consent_id']}/withdrawal"
    moment = arena.now - 10 * HOUR
    house.call("registry", "POST", path, key=key, json={"withdrawn_at": moment.isoformat()})


def _terminate(arena: Arena, house: House, name: str) -> None:
    license = arena.cast.licenses[name]
    path = f"/v1/licenses/{house.ids[f'license:{name}']}/termination"
    told = {"terminated_at": arena.cast.terminated[name].isoformat()}
    house.call("registry", "POST", path, key=house.keys[arena.cast.talents[license.twin].agency], json=told)


def _give_accounts(house: House) -> None:
    accounts = [{"platform": platform, "account": name} for platform, name in DRIFT_ACCOUNTS.items()]
    path = f"/v1/brands/{house.ids[f'brand:{DRIFT}']}/accounts"
    house.call("registry", "PUT", path, json={"accounts": accounts})


def _new_version(arena: Arena, house: House, license: License) -> None:
    """Terms that begin now: what was published before is judged again, and keeps its verdict and its fee."""
    name = f"license:{license.name}"
    key = house.keys[arena.cast.talents[license.twin].agency]
    path = f"/v1/licenses/{house.ids[name]}"
    now = house.call("registry", "GET", path, key=key)["versions"][-1]
    asked = {"scope": now["scope"], "split": now["split"]["shares"]}
    card = {"kind": "flat", "fee": {"minor": license.fee_minor * 2, "currency": license.currency}}
    told = {**asked, "effective_from": arena.now.isoformat(), "rate_card": card}
    house.call("registry", "POST", f"{path}/versions", key=key, headers={"Idempotency-Key": f"v2-{name}"}, json=told)
