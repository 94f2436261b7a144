"""Presets are frozen, bounded, and light to import."""

import subprocess
import sys

import pytest
from pydantic import ValidationError

from model.presets import PRESETS, Preset, Stage, TrainConfig, preset


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


def test_tiny_has_every_part_on() -> None:
    fusion = preset("tiny").fusion
    assert fusion.kind == "cofe"
    assert fusion.time_aware
    assert fusion.aligner is not None
    assert fusion.references is not None


def test_clips_and_views_are_sizes_that_their_base_can_read() -> None:
    for chosen in PRESETS.values():
        token = chosen.base.spatial_factor * chosen.base.patch
        assert chosen.clip.view_side % token == 0
        for bucket in chosen.clip.buckets:
            assert bucket.height % token == bucket.width % token == 0
            assert (bucket.frames - 1) % chosen.base.temporal_factor == 0
            # The memory estimate is of the main size: no other may need more.
            main = chosen.clip.bucket
            assert bucket.frames <= main.frames
            assert bucket.height * bucket.width <= main.height * main.width
        assert chosen.name in (chosen.base.name, f"{chosen.base.name}-720p")
        assert chosen.name.endswith("-720p") == (chosen.clip.height == 720)


@pytest.mark.parametrize(
    ("name", "shift"),
    [
        ("tiny", 3), ("wan2.1-t2v-1.3b", 3), ("wan2.1-t2v-14b-720p", 5), ("wan2.1-i2v-14b-720p", 5), ("wan2.2-ti2v-5b", 5),
        ("wan2.2-i2v-a14b", 5), ("wan2.2-i2v-a14b-720p", 5), ("wan2.2-t2v-a14b", 12), ("wan2.2-t2v-a14b-720p", 12),
    ],
)  # fmt: skip
def test_the_sigma_shift_is_the_bases_own_at_its_size(name: str, shift: float) -> None:
    chosen = preset(name)
    assert {chosen.base.flow_shift(bucket.height, bucket.width) for bucket in chosen.clip.buckets} == {shift}


def test_what_is_pretrained_never_has_the_rate_of_what_is_fresh() -> None:
    real = [chosen.train for chosen in PRESETS.values() if chosen.base.repository is not None]
    assert all(train.base_lr is None or train.base_lr < train.lr for train in real)
    unrated = preset("wan2.2-ti2v-5b").train.model_dump() | {"base_lr": None}
    with pytest.raises(ValueError, match=r"weights of the base train: set train.base_lr"):
        TrainConfig(**unrated)


def test_a_real_preset_takes_clips_of_two_seconds_and_of_any_aspect() -> None:
    for chosen in PRESETS.values():
        if chosen.base.repository is not None:
            shortest = [chosen.clip.bucket_for(2.0, height, width) for height, width in ((1080, 1920), (1920, 1080), (900, 900))]
            assert len({bucket[1:] for bucket in shortest}) == 3
            assert {bucket.frames for bucket in shortest} == {min(chosen.clip.shorter_frames)}


def test_a_stage_shows_more_than_the_frame_that_is_given() -> None:
    def staged(name: str, frames: int) -> Preset:
        facts = preset(name).model_dump()
        facts["train"]["curriculum"] = [{"until_step": 3, "frames": frames}]
        return Preset(**facts)

    assert staged("wan2.2-ti2v-5b", 5).train.most_frames(0) == 5
    assert staged("wan2.1-t2v-1.3b", 1).train.most_frames(0) == 1
    with pytest.raises(ValidationError, match="a stage of fewer than 5 frames is the frame that a ti2v base is given"):
        staged("wan2.2-ti2v-5b", 4)


def test_stages_follow_each_other_and_end_with_whole_clips() -> None:
    config = preset("tiny").train.model_dump()
    stages = [Stage(until_step=3, frames=5), Stage(until_step=8, frames=9)]
    train = TrainConfig(**config | {"curriculum": stages})
    assert [train.most_frames(step) for step in (0, 2, 3, 7, 8, 100)] == [5, 5, 9, 9, None, None]
    assert preset("tiny").train.most_frames(0) is None
    with pytest.raises(ValidationError, match=r"stages end at steps \[8, 3\]: let each end after the one before"):
        TrainConfig(**config | {"curriculum": stages[::-1]})


@pytest.mark.parametrize(
    ("train", "complaint"),
    [
        ({"publish": "ema", "ema_decay": None}, "nothing is averaged: set ema_decay"),
        ({"publish": "best_ema", "ema_decay": None, "validate_every": 2}, "nothing is averaged: set ema_decay"),
        ({"publish": "best"}, "no checkpoint is judged: set validate_every"),
        ({"publish": "best_ema"}, "no checkpoint is judged: set validate_every"),
        ({"publish": "worst"}, "'last', 'best', 'ema' or 'best_ema'"),
    ],
)
def test_what_will_not_be_there_cannot_be_published(train: dict, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        TrainConfig(**preset("tiny").train.model_dump() | train)


def test_what_is_published_is_another_choice_and_no_other_training() -> None:
    tiny = preset("tiny")
    averaged = tiny.model_copy(update={"train": tiny.train.model_copy(update={"publish": "ema"})})
    assert averaged != tiny
    assert averaged.of_training() == tiny.of_training()
    assert set(tiny.train.model_dump()) - set(tiny.of_training()["train"]) == {
        "publish",
        "checkpoint_every",
        "checkpoint_minutes",
        "keep_states",
    }
