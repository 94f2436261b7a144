"""`lafid calibrate`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lafid_assets.constraints.policies import FacePolicy
from lafid_assets.policy_settings import settings_row
from lafid_assets.schemas import POLICY_SETTINGS, POSE_FILTERED_CLIPS, RAW_CLIPS

RowOf = Callable[..., dict[str, Any]]


@pytest.fixture
def curated(publish: Any, row_of: RowOf) -> None:
    policy, settings = settings_row(FacePolicy().model_dump_json())
    rows = [
        row_of(POSE_FILTERED_CLIPS, clip_id=clip, pose_variation_deg=degrees, several_faces_share=degrees, policy_sha256=policy)
        for clip, degrees in zip("abcd", (10.0, 20.0, 30.0, 40.0), strict=True)
    ]
    raw = RAW_CLIPS.frame(row_of(RAW_CLIPS, clip_id=clip, aesthetic=index) for index, clip in enumerate("abcd"))
    decided = POSE_FILTERED_CLIPS.frame(rows)
    publish({"raw_clips": raw, "pose_filtered_clips": decided, POLICY_SETTINGS.name: settings})


def test_curve_best_threshold_and_picture(lafid: Any, curated: None, home: Path, tmp_path: Path) -> None:
    labels = tmp_path / "labels.csv"
    labels.write_text("clip_id,label\na,0\nb,0\nc,1\nd,1\nz,1\n")
    ended = lafid("calibrate", labels)
    assert (ended.code, ended.err) == (0, "")
    assert "best F1 1.00 at 30 (precision 1.00, recall 1.00); the policy has 45 now" in ended.out
    assert "left out: 0 without the measure, 1 unknown, the first z" in ended.out
    assert (home / "calibrate-pose_variation_deg.png").read_bytes().startswith(b"\x89PNG")


def test_measure_with_a_maximum_and_one_of_the_released(lafid: Any, curated: None, tmp_path: Path) -> None:
    labels = tmp_path / "labels.csv"
    labels.write_text("clip_id,label\na,1\nb,0\nc,0\nd,0\n")
    assert "at 10 (precision 1.00" in lafid("calibrate", labels, "--measure", "several_faces_share").out
    assert "this rule switched off" in lafid("calibrate", labels, "--measure", "aesthetic").out


def test_unknown_measure_is_answered_with_those_that_there_are(lafid: Any, curated: None, tmp_path: Path) -> None:
    assert (
        "no measure 'beauty' to calibrate: choose one of duration_s" in lafid("calibrate", tmp_path, "--measure", "beauty").error
    )
