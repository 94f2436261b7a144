"""Two decisions side by side."""

from collections.abc import Callable
from typing import Any

import polars as pl
import pytest

from lafid_assets.constraints.policies import FacePolicy
from lafid_assets.constraints.whatif import compare, needs_measuring, with_raw_measures
from lafid_assets.schemas import POSE_FILTERED_CLIPS, RAW_CLIPS

RowOf = Callable[..., dict[str, Any]]
GOOD = {"face_frame_share": 1.0, "several_faces_share": 0.0, "face_height_share": 0.4, "sharpness": 90.0, "posed_frames": 9}


@pytest.fixture
def tables(row_of: RowOf) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Clips a to d with 30, 50, 70 and 90 degrees as the default policy decided them; e was skipped."""
    rows = []
    for clip, degrees in zip("abcd", (30, 50, 70, 90), strict=True):
        low = {"status": "rejected", "reason": "pose_variation_low"} if degrees < 45 else {"status": "ok", "reason": None}
        rows.append(
            row_of(POSE_FILTERED_CLIPS, clip_id=clip, **GOOD, pose_variation_deg=degrees, keep=degrees >= 45, reasons=[], **low)
        )
    skipped = {"status": "skipped", "reason": "upstream", "keep": False}
    rows.append(row_of(POSE_FILTERED_CLIPS, clip_id="e", pose_variation_deg=None, **skipped))
    raw = RAW_CLIPS.frame(row_of(RAW_CLIPS, clip_id=clip, duration_s=3.0 if clip != "d" else 1.0) for clip in "abcde")
    return POSE_FILTERED_CLIPS.frame(rows), raw


def test_counts_and_changed_reasons(tables: tuple[pl.DataFrame, pl.DataFrame]) -> None:
    decided, raw = tables
    stricter = compare(decided, with_raw_measures(decided, raw), FacePolicy(pose_variation_min_deg=60))
    assert (stricter.kept_before, stricter.kept_after, stricter.after.height) == (3, 2, 4)
    assert stricter.changed.rows() == [("kept", "pose_variation_low", 1)]
    looser = compare(decided, with_raw_measures(decided, raw), FacePolicy(pose_variation_min_deg=None, duration_min_s=2))
    assert (looser.kept_before, looser.kept_after) == (3, 3)
    assert looser.changed.rows() == [("kept", "duration_outside", 1), ("pose_variation_low", "kept", 1)]


def test_same_policy_changes_nothing(tables: tuple[pl.DataFrame, pl.DataFrame]) -> None:
    decided, raw = tables
    assert compare(decided, with_raw_measures(decided, raw), FacePolicy()).changed.is_empty()


def test_only_what_is_measured_otherwise_needs_the_faces_again() -> None:
    assert needs_measuring(FacePolicy(), FacePolicy(range_percentile=0))
    assert needs_measuring(FacePolicy(), FacePolicy(prominent_area_ratio=0.5))
    assert not needs_measuring(FacePolicy(), FacePolicy(pose_variation_min_deg=90, posed_frames_min=9, sharpness_min=None))
