"""Do the kept clips show heads from all sides, and faces that move?"""

from collections.abc import Callable, Mapping
from typing import Any

import polars as pl
import pytest

from lafid_assets.checks.bounds import CheckBounds
from lafid_assets.checks.coverage import (
    MEASURED_YAW,
    expression_coverage,
    kept_clips_by_yaw,
    kept_clips_that_change,
    pose_coverage,
)
from lafid_assets.schemas import FACE_CLIPS, FACE_INFO, LAFID_DATASET
from resources.lake.lake import Lake

SHARD = "shard-00000"
RowOf = Callable[..., dict[str, Any]]
Lay = Callable[[Mapping[str, list[dict[str, Any]]], Mapping[str, dict[str, float | None]]], None]


@pytest.fixture
def lay(lake: Lake, row_of: RowOf) -> Lay:
    """Clips by name: faces, and ranges of expressions; the dataset keeps those whose name is not `rejected`."""

    def put(faces: Mapping[str, list[dict[str, Any]]], ranges: Mapping[str, dict[str, float | None]]) -> None:
        of_clip = {clip: {"clip_id": clip, "shard": SHARD} for clip in (*faces, *ranges)}
        frames = {
            FACE_INFO: [
                row_of(FACE_INFO, frame_index=index, **{"face_index": 0} | of_clip[clip] | face)
                for clip, seen in faces.items()
                for index, face in enumerate(seen)
            ],
            FACE_CLIPS: [row_of(FACE_CLIPS, **of_clip[clip], **measured) for clip, measured in ranges.items()],
        }
        lake.put({table.name: table.frame(rows) for table, rows in frames.items()}, SHARD, "f")
        kept = [row_of(LAFID_DATASET, **known) for clip, known in of_clip.items() if clip != "rejected"]
        lake.put({LAFID_DATASET.name: LAFID_DATASET.frame(kept)}, fingerprint="f")

    return put


def _by_yaw(lake: Lake) -> dict[str, int]:
    with lake.snapshot() as reader:
        return kept_clips_by_yaw(reader).row(0, named=True)


def test_a_clip_counts_once_in_each_bin_that_its_main_face_shows(lake: Lake, lay: Lay) -> None:
    lay(
        {
            "turns": [{"yaw_deg": yaw} for yaw in (0.0, 5.0, -25.0, 39.9, -70.0)],
            "edge": [{"yaw_deg": 40.0}],
            "passer-by": [{"yaw_deg": 10.0}, {"yaw_deg": 50.0, "face_index": 1}],
            "unknown": [{"yaw_deg": None}],
            "rejected": [{"yaw_deg": 80.0}],
        },
        {},
    )
    assert _by_yaw(lake) == {"clips": 4, "measured": 3, "yaw_0_20": 2, "yaw_20_40": 1, "yaw_40_60": 1, "yaw_60_90": 1}


def _counted(clips: int, measured: int, **counts: int) -> pl.DataFrame:
    return pl.DataFrame([{"clips": clips, "measured": measured, **counts}])


def test_a_bin_that_too_few_clips_show_is_named() -> None:
    counts = dict(zip(MEASURED_YAW, (100, 60, 30, 1), strict=True))
    passed, said, figures = pose_coverage(_counted(120, 100, **counts), CheckBounds())
    assert not passed
    assert "1.0% in yaw_60_90" in said
    assert "yaw_40_60" not in said
    assert (figures["clips_yaw_20_40"], figures["clips_yaw_60_90"], figures["clips_with_pose"]) == (0.6, 0.01, 100)
    assert pose_coverage(_counted(120, 100, **counts), CheckBounds(least_pose_share=0.01)).passed


def test_poses_that_were_not_measured_are_no_figure(lake: Lake, lay: Lay) -> None:
    lay({"a": [{"yaw_deg": None}]}, {})
    with lake.snapshot() as reader:
        passed, said, figures = pose_coverage(kept_clips_by_yaw(reader), CheckBounds())
    assert (passed, figures) == (True, {})
    assert "no head pose was measured" in said


def test_a_dataset_without_clips_has_no_coverage() -> None:
    nothing = _counted(0, 0, **dict.fromkeys(MEASURED_YAW, 0))
    assert "no clip is kept" in pose_coverage(nothing, CheckBounds()).said


def test_clips_change_whose_expression_has_a_range(lake: Lake, lay: Lay) -> None:
    lay(
        {},
        {
            "talks": {"mouth_opening_range": 0.2, "eye_opening_range": 0.01},
            "still": {"mouth_opening_range": 0.01, "brow_height_range": 0.04},
            "partly": {"eye_opening_range": 0.05},
            "unknown": {},
            "rejected": {"mouth_opening_range": 0.3},
        },
    )
    with lake.snapshot() as reader:
        counted = kept_clips_that_change(reader)
    assert counted.row(0, named=True) == {
        "clips": 4,
        "measured": 3,
        "mouth_opening": 1,
        "eye_opening": 1,
        "brow_height": 0,
        "mouth_width": 0,
        "changed": 2,
    }
    passed, _, figures = expression_coverage(counted, CheckBounds())
    assert passed
    assert figures["clips_expression_changes"] == pytest.approx(2 / 3)
    assert figures["clips_mouth_opening_changes"] == pytest.approx(1 / 3)
    assert not expression_coverage(counted, CheckBounds(least_expression_share=0.7)).passed


def test_expressions_that_were_not_measured_are_no_figure(lake: Lake, lay: Lay) -> None:
    lay({}, {"unknown": {}})
    with lake.snapshot() as reader:
        passed, said, figures = expression_coverage(kept_clips_that_change(reader), CheckBounds())
    assert (passed, figures) == (True, {})
    assert "no expression was measured in the 1 kept clips" in said
