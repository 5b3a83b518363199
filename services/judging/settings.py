"""Every knob of judging."""

from pydantic import Field

from shared.settings import StreamSettings


class JudgingSettings(StreamSettings):
    """What judging runs with."""

    batch_max: int = Field(200, ge=1, le=1_000, examples=[200], description="sightings judged in one transaction")
    judge_again_batch_max: int = Field(50, ge=1, le=1_000, examples=[50], description="uses judged again at once")
    bulk_from_uses: int = Field(
        100, ge=1, examples=[100], description="a change that concerns this many uses is told behind live ones"
    )
