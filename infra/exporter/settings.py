"""Every knob of the exporter."""

from pydantic import Field

from shared.settings import KafkaSettings, WebSettings


class ExporterSettings(KafkaSettings, WebSettings):
    """What the exporter runs with: a broker and a port, nothing else."""

    exporter_pause_s: float = Field(5.0, gt=0, le=300, examples=[5.0], description="between two looks at the broker")
