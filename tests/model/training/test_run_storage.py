"""A training whose machine is gone goes on elsewhere, out of a store on S3, and ends with the same bits."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from model.presets import Preset
from model.release.checkpoint import read_manifest
from model.training.train import TrainResult
from resources.store.file_store import FileStore
from resources.trainer.job import RUNS_FOLDER
from resources.trainer.kept_runs import KeptRuns
from tests.model.training.conftest import Killed


@pytest.fixture
def node(bucket: str, tmp_path: Path) -> Callable[[str], KeptRuns]:
    """What a node of that name keeps its runs by."""
    return lambda name: KeptRuns(FileStore(f"s3://{bucket}/lafid", tmp_path / name))


def test_another_machine_goes_on_and_ends_with_the_same_bits(
    node: Callable[[str], KeptRuns], run: Callable[..., TrainResult], quick: Callable[..., Preset], tmp_path: Path
) -> None:
    config = quick(steps=3, checkpoint_every=2, validate_every=1, keep_checkpoints=1, ema_decay=0.9)
    whole = run(config, tmp_path / "whole")
    one, two, three = node("one"), node("two"), node("three")

    def of(kept: KeptRuns) -> dict[str, Any]:
        return {"out_dir": kept.store.here(RUNS_FOLDER), "keeper": kept}

    with pytest.raises(Killed):
        run(config, until=3, **of(one))
    resumed = run(config, **of(two))
    assert resumed.resumed_from == 2
    for name in ("checkpoint_dir", "ema_checkpoint_dir", "best_checkpoint_dir", "best_ema_checkpoint_dir"):
        assert read_manifest(getattr(resumed, name)) == read_manifest(getattr(whole, name)), name
    finished = run(config, **of(three))
    assert finished.seconds < resumed.seconds
    assert read_manifest(finished.checkpoint_dir) == read_manifest(whole.checkpoint_dir), "nobody trains what is finished"
    assert not [path for path in three.store.list_tree(RUNS_FOLDER) if "/state/" in path], "states go with the run's end"
