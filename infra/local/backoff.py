"""How long a process that died waits before it is started again."""

from __future__ import annotations

from dataclasses import dataclass

FIRST_WAIT_S = 0.5
LONGEST_WAIT_S = 10.0
STEADY_S = 30.0


@dataclass
class Backoff:
    """Doubles with each early death, forgets them after a steady life, never gives up."""

    deaths: int = 0

    def wait_s(self, lived_s: float) -> float:
        """The pause after a life of `lived_s` seconds."""
        if lived_s >= STEADY_S:
            self.deaths = 0
        self.deaths += 1
        # The exponent is capped as well: 2.0 ** 2000 is an error.
        return min(LONGEST_WAIT_S, FIRST_WAIT_S * 2.0 ** min(self.deaths - 1, 10))
