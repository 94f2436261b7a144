"""Two decisions side by side."""

from collections.abc import Callable
from typing import Any

import polars as pl
import pytest

from lafid_assets.constraints.measures import frames_with_several, measure_clips, pose_ranges
from lafid_assets.constraints.policies import POLICIES, FacePolicy
from lafid_assets.constraints.whatif import (
    clip_measures,
    compare,
    counts_otherwise,
    telling_rule,
    turns_otherwise,
    with_ranges,
    with_several_faces,
)
from lafid_assets.schemas import FACE_FRAMES, FACE_INFO, POSE_FILTERED_CLIPS

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
    raw = pl.DataFrame({"clip_id": list("abcde"), "duration_s": [3.0, 3.0, 3.0, 1.0, 3.0]})
    return POSE_FILTERED_CLIPS.frame(rows), raw


def test_counts_and_changed_reasons(tables: tuple[pl.DataFrame, pl.DataFrame]) -> None:
    decided, raw = tables
    stricter = compare(decided, FacePolicy(pose_variation_min_deg=60))
    assert (stricter.kept_before, stricter.kept_after, stricter.after.height) == (3, 2, 4)
    assert stricter.changed.rows() == [("kept", "pose_variation_low", 1)]
    looser = compare(decided.join(raw, on="clip_id"), FacePolicy(pose_variation_min_deg=None, duration_min_s=2))
    assert (looser.kept_before, looser.kept_after) == (3, 3)
    assert looser.changed.rows() == [("kept", "duration_outside", 1), ("pose_variation_low", "kept", 1)]


def test_same_policy_changes_nothing(tables: tuple[pl.DataFrame, pl.DataFrame]) -> None:
    assert compare(tables[0], FacePolicy()).changed.is_empty()


def test_only_what_is_measured_otherwise_needs_the_faces_again() -> None:
    before = FacePolicy()
    moved = FacePolicy(pose_variation_min_deg=90, posed_frames_min=9, sharpness_min=None)
    assert turns_otherwise(before, FacePolicy(range_percentile=0))
    assert counts_otherwise(before, FacePolicy(prominent_area_ratio=0.5))
    assert not turns_otherwise(before, moved)
    assert not counts_otherwise(before, moved)
    assert not turns_otherwise(before, FacePolicy(prominent_area_ratio=0.5))
    gated = clip_measures(POLICIES["cofe_with_released_gates"])
    assert "aesthetic" in gated
    assert clip_measures(before, POLICIES["cofe_with_released_gates"]) == gated
    assert clip_measures(before) == []


def test_measured_again_from_the_faces_as_the_asset_measures_them(row_of: RowOf) -> None:
    """Clips in no order at all, as the shards follow each other in the database."""
    faces, frames, skipped = [], [], {"status": "skipped", "reason": "upstream", "keep": False}
    for clip, degrees in (("b", 40.0), ("a", 10.0)):
        for n in range(5):
            frames.append(row_of(FACE_FRAMES, clip_id=clip, frame_index=n, height=100, face_count=2))
            for index in range(2):
                pose = {"yaw_deg": degrees * (n == 4), "pitch_deg": 0.0, "roll_deg": 0.0}
                share = 0.1 if index == 0 else 0.03 if clip == "b" else 0.06
                box = {"box_y1": 0, "box_y2": 40, "frame_share": share, "sharpness": 90.0}
                faces.append(row_of(FACE_INFO, clip_id=clip, frame_index=n, face_index=index, **pose, **box))
    tables = FACE_INFO.frame(faces), FACE_FRAMES.frame(frames)
    policy = FacePolicy(range_percentile=0, prominent_area_ratio=0.5)
    rows = [row_of(POSE_FILTERED_CLIPS, clip_id=clip, frames=5, pose_variation_deg=1.0) for clip in "ba"]
    decided = POSE_FILTERED_CLIPS.frame([*rows, row_of(POSE_FILTERED_CLIPS, clip_id="c", frames=None, **skipped)])
    main = tables[0].filter(pl.col("face_index") == 0)
    again = with_several_faces(with_ranges(decided, main, policy), tables[0], policy).sort("clip_id")
    wanted = ["yaw_range_deg", "pose_variation_deg", "several_faces_share"]
    assert again.select(wanted).rows() == [(10.0, 10.0, 1.0), (40.0, 40.0, 0.0), (None, None, None)]
    measured = measure_clips(*tables, policy).sort("clip_id").select(wanted)
    assert again.head(2).select(wanted).equals(measured)


def test_of_moved_thresholds_the_one_that_most_clips_feel() -> None:
    after = FacePolicy(sharpness_min=None, pose_variation_min_deg=90)
    columns = {"before": ["kept", "face_blurred"], "after": ["pose_variation_low", "kept"], "clips": [5, 2]}
    rule = telling_rule(FacePolicy(), after, pl.DataFrame(columns))
    assert rule is not None
    assert rule.measure == "pose_variation_deg"
    unchanged = pl.DataFrame(columns).clear()
    assert telling_rule(FacePolicy(), FacePolicy(prominent_area_ratio=0.5), unchanged) is None


@pytest.mark.parametrize("clips", ["aabb", "abab"])
def test_rows_in_any_order_are_measured_alike(clips: str) -> None:
    """Also where a clip's rows do not stand together, or its faces not from the largest down."""
    main = pl.DataFrame({"clip_id": list(clips), "yaw_deg": [0.0, 5.0, 30.0, 60.0], "pitch_deg": 0.0, "roll_deg": 0.0})
    turned = dict(pose_ranges(main, FacePolicy(range_percentile=0)).select("clip_id", "yaw_range_deg").iter_rows())
    assert turned == ({"a": 5.0, "b": 30.0} if clips == "aabb" else {"a": 30.0, "b": 55.0})
    backwards = {"clip_id": "a", "frame_index": [0, 0], "face_index": [1, 0], "frame_share": [0.1, 0.2]}
    assert frames_with_several(pl.DataFrame(backwards), FacePolicy())["several_faces"].to_list() == [1]
