"""Presets are frozen, bounded, and light to import."""

import subprocess
import sys

import pytest
from pydantic import ValidationError

from model.presets import PRESETS, Stage, TrainConfig, preset


def test_an_unknown_name_lists_those_that_exist() -> None:
    with pytest.raises(ValueError, match="tiny"):
        preset("huge")


def test_a_misspelt_or_impossible_setting_is_refused() -> None:
    good = preset("tiny").train.model_dump()
    with pytest.raises(ValidationError, match="learning"):
        TrainConfig(**good, learning=1)
    with pytest.raises(ValidationError, match="batch_size"):
        TrainConfig(**{**good, "batch_size": 0})


def test_importing_presets_loads_no_torch() -> None:
    """Dagster's definitions read these types."""
    code = "import sys, model.presets; sys.exit(any(name in sys.modules for name in ('torch', 'diffusers', 'mlflow')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_clips_duration_counts_the_gaps() -> None:
    assert preset("tiny").clip.duration_s == pytest.approx(1.0)


def test_tiny_has_every_part_on() -> None:
    fusion = preset("tiny").fusion
    assert fusion.kind == "cofe"
    assert fusion.time_aware
    assert fusion.aligner is not None
    assert fusion.references is not None


def test_clips_and_views_are_sizes_that_their_base_can_read() -> None:
    for chosen in PRESETS.values():
        token = chosen.base.spatial_factor * chosen.base.patch
        assert all(side % token == 0 for side in (chosen.clip.height, chosen.clip.width, chosen.clip.view_side))
        assert (chosen.clip.frames - 1) % chosen.base.temporal_factor == 0
        assert chosen.name == chosen.base.name


def test_stages_follow_each_other_and_end_with_whole_clips() -> None:
    config = preset("tiny").train.model_dump()
    stages = [Stage(until_step=3, frames=5), Stage(until_step=8, frames=9)]
    train = TrainConfig(**config | {"curriculum": stages})
    assert [train.most_frames(step) for step in (0, 2, 3, 7, 8, 100)] == [5, 5, 9, 9, None, None]
    assert preset("tiny").train.most_frames(0) is None
    with pytest.raises(ValidationError, match=r"stages end at steps \[8, 3\]: let each end after the one before"):
        TrainConfig(**config | {"curriculum": stages[::-1]})
