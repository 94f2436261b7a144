"""Who is drawn on the way: persons of the validation split, one clip of each."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from lafid_assets.outcomes import ClipError
from lafid_assets.schemas import LAFID_DATASET, TRAINING_LATENTS
from lafid_assets.training.held_out import choose_held_out, first_frame, write_first_frame
from model.presets import ClipSize


def test_one_clip_of_each_held_out_person_and_never_one_of_training_or_test(
    row_of: Callable[..., dict[str, Any]], caplog: pytest.LogCaptureFixture
) -> None:
    known = [
        ("1", "b", "validation"),
        ("2", "a", "validation"),
        ("3", "a", "validation"),
        ("4", "c", "train"),
        ("5", "d", "test"),
    ]
    rows = [row_of(LAFID_DATASET, clip_id=clip, identity_id=person, split=split) for clip, person, split in known]
    dataset = LAFID_DATASET.frame(rows)
    latents = TRAINING_LATENTS.frame(row_of(TRAINING_LATENTS, clip_id=clip, split=split, status="ok") for clip, _, split in known)
    assert choose_held_out(dataset, latents, 1)["clip_id"].to_list() == ["2"]
    assert choose_held_out(dataset, latents, 2)["clip_id"].to_list() == ["2", "1"]
    assert not caplog.text
    uncached = latents.with_columns(status=pl.when(pl.col("clip_id") == "2").then(pl.lit("skipped")).otherwise("status"))
    assert choose_held_out(dataset, uncached, 2)["clip_id"].to_list() == ["3", "1"]
    assert choose_held_out(dataset, latents, 3)["clip_id"].to_list() == ["2", "1"]
    assert "2 of 3 videos are drawn: the validation split has no more persons" in caplog.text


def test_the_first_frame_is_named_after_the_clip_and_a_lost_clip_is_told(dataset: pl.DataFrame, tmp_path: Path) -> None:
    clip = dataset.row(0, named=True)
    assert write_first_frame(clip, ClipSize(), tmp_path / "frames").name == f"{clip['clip_id']}.png"
    (Path(clip["clip_root"]) / clip["path"]).unlink()
    with pytest.raises(ClipError, match="has disappeared: put it back"):
        first_frame(clip, ClipSize())
