"""Kills: every service in turn with -9, the broker, the database and Valkey restarted, Valkey emptied."""

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import cycle

import redis

from infra.local.faults import StackError
from tests.chaos.arena import SERVICES, Arena
from tests.chaos.holding import in_hand
from tests.chaos.logs import STAGES, LogWatch

TRIES = 3
PARTS = ("restart kafka", "kill kafka", "restart postgres", "restart valkey", "empty valkey")


@dataclass
class Monkey:
    """Makes one move after the other, from a seed."""

    arena: Arena
    watch: LogWatch
    seed: int
    kills: Counter[str] = field(default_factory=Counter)
    done: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._chance = random.Random(self.seed)

    def plan(self, kills: int) -> list[str]:
        """Moves with this many kills of services: each stage's batch in hand, every process in turn, every part."""
        rounds, moves = 0, []
        in_hand = [f"kill in hand {stage}" for stage in STAGES]
        while len(moves) < kills:
            batch = [*(f"kill {name}" for name in self.arena.workers), *(in_hand if rounds % 2 == 0 else ())]
            self._chance.shuffle(batch)
            moves += batch
            rounds += 1
        moves = moves[:kills]
        every = max(1, len(moves) // len(PARTS)) if kills < 100 else 40
        for number, at in enumerate(range(every // 2, len(moves) + 1, every)):
            moves.insert(at + number, PARTS[number % len(PARTS)])
        return moves

    def until(self, kills: int, moves: list[str]) -> Iterator[str]:
        """The moves, and then as many more as it takes: one that finds nobody to kill counts for nothing."""
        yield from moves
        for name in cycle(self.arena.workers):
            if self.kills.total() - self.kills["kafka"] >= kills:
                return
            yield f"kill {name}"

    def move(self, move: str) -> None:
        """Make it, and note it."""
        stack = self.arena.stack
        match move.split():
            case ["kill", "in", "hand", stage]:
                move = f"{move}: {self._kill_in_hand(stage)}"
            case ["kill", "kafka"]:
                stack.wait_ready("kafka", 90, unlike=stack.kill("kafka"))
                self.kills["kafka"] += 1
            case ["kill", name]:
                self._kill(name)
            case ["restart", part]:
                stack.restart(part)
            case ["empty", "valkey"]:
                with redis.Redis.from_url(stack.redis) as valkey:
                    valkey.flushall()
            case _:
                raise ValueError(f"no such move: {move}")
        self.done.append(move)

    def _kill(self, name: str) -> bool:
        try:
            self.arena.stack.kill(name)
        except StackError:
            # It is dead already, and waits for its next start.
            return False
        self.watch.gone(name)
        self.kills[name.removesuffix("-2")] += 1
        return True

    def _kill_in_hand(self, stage: str) -> str:
        # Right after another kill nobody may hold its partitions for as long as a session lasts.
        for _ in range(TRIES):
            with in_hand(self.arena, self.watch, stage) as holder:
                if holder is not None and self._kill(holder):
                    return holder
        return "nothing in hand"


def all_killed(kills: Counter[str]) -> bool:
    """Was every service killed at least once?"""
    return all(kills[name] for name in SERVICES)
