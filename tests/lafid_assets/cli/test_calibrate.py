"""`lafid calibrate`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lafid_assets.constraints.policies import FacePolicy
from lafid_assets.policy_settings import settings_row
from lafid_assets.schemas import DUPLICATE_CLIPS, MARKS, POLICY_SETTINGS, POSE_FILTERED_CLIPS, RAW_CLIPS
from resources.lake.lake import Lake

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


@pytest.fixture
def decided(publish: Any, row_of: RowOf) -> None:
    """Twelve clips of 6, 12, ... 72 degrees: kept from 48 on, as the policy's 45 asks."""
    policy, settings = settings_row(FacePolicy().model_dump_json())
    low = {"status": "rejected", "reason": "pose_variation_low", "reasons": ["pose_variation_low"], "keep": False}
    degrees = {f"c{n:02}": 6.0 * n for n in range(1, 13)}
    rows = [
        row_of(POSE_FILTERED_CLIPS, clip_id=clip, pose_variation_deg=turned, policy_sha256=policy, **(low if turned < 45 else {}))
        for clip, turned in degrees.items()
    ]
    publish(
        {
            "raw_clips": RAW_CLIPS.frame(row_of(RAW_CLIPS, clip_id=clip, content_sha256=clip) for clip in degrees),
            "pose_filtered_clips": POSE_FILTERED_CLIPS.frame(rows),
            "duplicate_clips": DUPLICATE_CLIPS.frame(
                row_of(DUPLICATE_CLIPS, clip_id=clip) for clip in degrees if degrees[clip] > 45
            ),
            POLICY_SETTINGS.name: settings,
        }
    )


@pytest.fixture
def mark(lake: Lake, row_of: RowOf) -> Callable[..., None]:
    """Marks clips as they are decided: wrong where they should not be."""

    def put(number: int, verdict: str, fault: str | None = None, marker: str = "ada", content: str | None = None) -> None:
        clip, kept = f"c{number:02}", number >= 8
        said = {"status": "kept" if kept else "rejected", "reason": None if kept else "pose_variation_low", "verdict": verdict}
        said |= {"step": "duplicate_clips" if kept else "pose_filtered_clips", "fault": fault, "marker": marker}
        known = {"mark_id": f"{marker} {clip}", "clip_id": clip, "content_sha256": content or clip}
        lake.put({MARKS.name: MARKS.frame([row_of(MARKS, **known, **said)])})

    return put


def test_marks_say_which_threshold_most_agree_with(lafid: Any, decided: None, mark: Callable[..., None]) -> None:
    """Who marked would keep clips from 36 degrees on."""
    for number in range(1, 13):
        if number < 8:
            mark(number, "right" if number < 6 else "wrong", "pose_variation_low" if number < 6 else None)
        elif number < 12:
            mark(number, "right", marker="ada" if number < 10 else "bob")
    mark(12, "wrong", "several_faces")
    ended = lafid("calibrate")
    assert (ended.code, ended.err) == (0, "")
    words = " ".join(ended.out.split())
    assert "9 of 12 marked clips are decided today as they were marked (75%), by 2 persons" in words
    assert "a threshold of 36 on pose_variation_deg agrees with most: 11 of 11 clips whose marks tell about it" in words
    assert "the policy has 45 now" in words
    assert "of the marks 1: should not be kept, for another fault" in words


def test_too_few_marks_are_refused(lafid: Any, decided: None, mark: Callable[..., None]) -> None:
    assert "too few marks: 0 clips should be kept" in lafid("calibrate").error
    mark(8, "right")
    mark(9, "right", content="another file")
    assert "too few marks: 1 clips should be kept and 0 should not for pose_variation_low" in lafid("calibrate").error
