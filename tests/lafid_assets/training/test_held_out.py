"""Who is drawn: persons take turns, then poses; each clip begins where and as training sees it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from PIL import Image
from pydantic import ValidationError

from lafid_assets.outcomes import ClipError
from lafid_assets.schemas import LAFID_DATASET, TRAINING_LATENTS
from lafid_assets.training.held_out import HeldOut, choose_held_out, drawing_of, first_frame, write_first_frame
from model.clip_size import Bucket, ClipSize
from tests.lafid_assets.training.conftest import BOX, REFERENCE

Rows = Callable[..., dict[str, Any]]
SIZE = ClipSize()
# clip, person, split, the yaw of each analysed frame
KNOWN = (
    ("1", "a", "validation", (3.0, -50.0)),
    ("2", "a", "validation", (5.0,)),
    ("3", "b", "validation", (-44.0,)),
    ("4", "b", "validation", (10.0, None)),
    ("5", "c", "validation", (None,)),
    ("6", "c", "train", (80.0,)),
    ("7", "d", "test", (80.0,)),
)


@pytest.fixture
def tables(row_of: Rows) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Rows of the dataset and of what is cached of it."""
    rows, cached = [], []
    for clip, person, split, yaws in KNOWN:
        unknown = {"pitch_deg": 0.0, "roll_deg": 0.0, "face_index": 0} | BOX
        track = [{"time_s": n / 2, "frame_index": n, "yaw_deg": yaw, **unknown} for n, yaw in enumerate(yaws)]
        known = {"references": [REFERENCE | BOX], "face_track": track, "identity_id": person, "split": split}
        rows.append(row_of(LAFID_DATASET, clip_id=clip, **known))
        place = {"frames": 9, "height": 32, "width": 64, "start_s": 0.25}
        cached.append(row_of(TRAINING_LATENTS, clip_id=clip, split=split, status="ok", **place))
    return LAFID_DATASET.frame(rows), TRAINING_LATENTS.frame(cached)


def _choose(tables: tuple[pl.DataFrame, pl.DataFrame], most: int) -> list[HeldOut]:
    return choose_held_out(*tables, "validation", most, SIZE)


def test_persons_take_turns_then_poses_and_never_one_of_another_split(
    tables: tuple[pl.DataFrame, pl.DataFrame], caplog: pytest.LogCaptureFixture
) -> None:
    chosen = _choose(tables, 5)
    assert [one.clip["clip_id"] for one in chosen] == ["1", "4", "5", "3", "2"]
    for most in range(5):
        assert _choose(tables, most) == chosen[:most]
    assert not caplog.text
    assert _choose(tables, 6) == chosen
    assert "5 of 6 videos are drawn: the validation split has no more clips that are cached" in caplog.text


def test_a_clip_is_as_it_was_when_it_was_cached(tables: tuple[pl.DataFrame, pl.DataFrame]) -> None:
    dataset, latents = tables
    one = _choose(tables, 1)[0]
    assert (one.bucket, one.start_s) == (Bucket(9, 32, 64), 0.25)
    assert one.centre_xy_px == ((BOX["box_x1"] + BOX["box_x2"]) / 2, (BOX["box_y1"] + BOX["box_y2"]) / 2)
    gone = latents.with_columns(status=pl.when(pl.col("clip_id") == "1").then(pl.lit("skipped")).otherwise("status"))
    assert "1" not in [one.clip["clip_id"] for one in choose_held_out(dataset, gone, "validation", 4, SIZE)]


def test_the_first_frame_is_that_of_the_window_whole_and_a_lost_clip_is_told(dataset: pl.DataFrame, tmp_path: Path) -> None:
    clip = dataset.row(0, named=True)
    written = write_first_frame(clip, 0.5, tmp_path / "frames")
    assert written.name == f"{clip['clip_id']}.png"
    assert np.array_equal(np.asarray(Image.open(written)), first_frame(clip, 0.5))
    assert not np.array_equal(first_frame(clip, 0.0), first_frame(clip, 0.5))
    (Path(clip["clip_root"]) / clip["path"]).unlink()
    with pytest.raises(ClipError, match="has disappeared: put it back"):
        first_frame(clip, 0.0)


def test_how_they_are_drawn(tables: tuple[pl.DataFrame, pl.DataFrame]) -> None:
    with_encoder = tables[1].with_columns(semantic_encoder=pl.lit("/clip"))
    drawing = drawing_of({"low_memory": True, "precision": "bfloat16"}, with_encoder)
    assert (drawing.low_memory, drawing.precision, drawing.semantic_dir) == (True, "bfloat16", Path("/clip"))
    assert drawing_of({}, tables[1]).semantic_dir is None
    with pytest.raises(ValidationError, match="half"):
        drawing_of({"half": True}, tables[1])
