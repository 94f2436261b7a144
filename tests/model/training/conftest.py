"""A short training, whole or killed on its way."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from model.presets import Preset
from model.training.parallel import Ranks
from model.training.run_storage import Keeper
from model.training.train import TrainReport, TrainResult, train

CPU = torch.device("cpu")
ALONE = Ranks(0, 1, CPU)


class Killed(Exception):
    """A run is gone, as far as whoever started it can tell."""


@pytest.fixture
def run(clip_list: Path, base_dir: Path) -> Callable[..., TrainResult]:
    """Trains on the shared clips; killed after `until` updates where given."""

    def go(
        config: Preset, out_dir: Path, clips: Path | None = None, until: int | None = None, keeper: Keeper | None = None
    ) -> TrainResult:
        def report(progress: TrainReport) -> None:
            if progress.step == until:
                raise Killed

        where = (clips or clip_list, base_dir, out_dir)
        return train(config, *where, report, dataset_version="v1", device="cpu", keeper=keeper)

    return go
