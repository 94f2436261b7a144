"""How a model is computed when it draws, wherever that is: measured, on the way of its training, for users, served.

Belongs here: that record, and what it leaves to the training. Not here: loading and drawing (`pipeline`), what is drawn. Loads no
torch: Dagster's definitions and the command line read these types.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from pydantic import Field

from model.presets import Precision, TrainConfig
from model.strict import StrictModel


class DrawingSettings(StrictModel):
    """Changes memory and speed, and of the frames no more than rounding."""

    precision: Precision | None = Field(None, description="of transformers and text encoder; None: the training's")
    low_memory: bool = Field(False, description="parts wait on the CPU until it is their turn, the VAE works in tiles; slower")
    device: str | None = Field(None, description="cpu, cuda, cuda:1, ...; None: the GPU where there is one")
    semantic_dir: Path | None = Field(None, description="the vision encoder's folder, where the preset names one")

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> Self:
        """The settings in a configuration that says nothing by an empty string, as MLflow's does.

        Raises:
            ValidationError: a line is unknown, or a value impossible.
        """
        return cls.model_validate({name: value for name, value in told.items() if value != ""})

    def precision_after(self, train: TrainConfig) -> Precision:
        """Precision of a model that was trained so."""
        return self.precision or train.precision

    def what_to_change(self, train: TrainConfig) -> list[str]:
        """What saves memory and is not done yet for a model that was trained so, what costs least first."""
        wishes = [
            ("set precision to bfloat16", self.precision_after(train) != "bfloat16"),
            ("set low_memory", not self.low_memory),
            ("draw fewer frames, or a smaller height and width", True),
        ]
        return [wish for wish, open_ in wishes if open_]


AS_TRAINED = DrawingSettings()
"""What nobody decided otherwise."""
