"""How much is played: every size has an option of `python -m infra.bench.path`."""

from dataclasses import dataclass
from typing import Literal, get_args

Phase = Literal["idle", "steady", "saturate", "workers", "growth", "intake"]
# In this order. What intake takes in last is worked by nobody.
PHASES: tuple[Phase, ...] = get_args(Phase)


@dataclass(frozen=True)
class Sizes:
    """The sizes of one run; shares are between 0 and 1."""

    references: int
    pictures: int
    seconds: float
    per_s: float
    twin_share: float
    saturate_posts: int
    growth_posts: int
    growth_image_share: float
    workers: tuple[int, ...]
    worker_posts: int
    rounds: int
    round_s: float
    connections: int
    phases: tuple[Phase, ...]

    @property
    def steady_posts(self) -> int:
        """How many posts the steady phase sends."""
        return round(self.seconds * self.per_s)
