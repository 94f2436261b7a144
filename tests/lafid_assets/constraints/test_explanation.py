"""Rules in words and telling frames."""

from collections.abc import Callable
from typing import Any

import polars as pl
import pytest

from lafid_assets.constraints.explanation import explain_rules, frames_around, in_words, telling_frames
from lafid_assets.constraints.policies import FacePolicy
from lafid_assets.schemas import FACE_FRAMES, FACE_INFO

RowOf = Callable[..., dict[str, Any]]


def test_rules_stand_in_order_with_measure_demand_and_verdict() -> None:
    measures = {"face_frame_share": 1.0, "several_faces_share": 0.5, "sharpness": None, "pose_variation_deg": 44.0}
    policy = FacePolicy(sharpness_min=20, face_height_share_min=None)
    lines = explain_rules(measures, ["several_faces", "pose_variation_low"], policy)
    assert [(line.rule, line.measured, line.demand, line.broken) for line in lines] == [
        ("cut", None, "at most 2.1", False),
        ("cut", None, "at most 1.75", False),
        ("no_face", 1.0, "more than 0", False),
        ("face_too_rare", 1.0, "at least 0.6", False),
        ("several_faces", 0.5, "at most 0.05", True),
        ("face_blurred", None, "at least 20", False),
        ("pose_unknown", None, "at least 3", False),
        ("pose_unknown", None, "at least 0.5", False),
        ("pose_variation_low", 44.0, "at least 45", True),
        ("pose_variation_low", None, "at least 30", False),
    ]
    assert in_words("rejected", "pose_filtered_clips", "several_faces", lines) == (
        "rejected by pose_filtered_clips: several_faces "
        "(several_faces_share 0.5, at most 0.05 asked for; pose_variation_deg 44, at least 45 asked for)"
    )
    assert in_words("error", "raw_clips", "unreadable", [], "no moov") == "error by raw_clips: unreadable (no moov)"
    assert in_words("kept", "speech_tagged_clips", None, lines) == "kept"


def test_of_two_rules_with_one_reason_only_the_broken_one_is_marked() -> None:
    measures = {"several_faces_share": 0.0, "faces_in_frame": 3}
    lines = explain_rules(measures, ["several_faces"], FacePolicy(faces_in_frame_max=2))
    assert {line.measure: line.broken for line in lines if line.rule == "several_faces"} == {
        "several_faces_share": False,
        "faces_in_frame": True,
    }


@pytest.fixture
def scores(row_of: RowOf) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Twenty frames: no face in 0-9, two faces in 19, yaw and sharpness rising from 10 to 19, no pose in 11."""
    faces, frames = [], []
    for n in range(20):
        count = 0 if n < 10 else 2 if n == 19 else 1
        frames.append(row_of(FACE_FRAMES, clip_id="a", frame_index=n, time_s=n / 4, face_count=count))
        for index in range(count):
            pose = dict.fromkeys(("yaw_deg", "pitch_deg", "roll_deg"), None if n == 11 else 3.0 * n)
            size = {"head_height_px": 100.0 - n, "sharpness": 10.0 + n}
            faces.append(row_of(FACE_INFO, clip_id="a", frame_index=n, face_index=index, **size, **pose))
    return FACE_INFO.frame(faces), FACE_FRAMES.frame(frames)


@pytest.mark.parametrize(
    ("reason", "frames", "words"),
    [
        ("no_face", [0, 2, 4, 6, 8], "no face"),
        ("several_faces", [19], "2 faces"),
        ("face_too_small", [12, 13, 14, 15, 16, 17, 18, 19], "face 88 px high"),
        ("face_blurred", [10, 11, 12, 13, 14, 15, 16, 17], "sharpness 20"),
        ("pose_unknown", [11], "no pose"),
        ("pose_variation_low", [10, 19], "yaw 30, pitch 30, roll 30"),
        (None, [10, 19], "yaw 30, pitch 30, roll 30"),
    ],
)
def test_frames_that_decided(
    scores: tuple[pl.DataFrame, pl.DataFrame], reason: str | None, frames: list[int], words: str
) -> None:
    told = telling_frames(*scores, reason)
    assert [frame.frame_index for frame in told] == frames
    assert (told[0].why, told[0].time_s) == (words, frames[0] / 4)


def test_clip_without_faces_or_poses_has_no_telling_frames_that_are_not_there(scores: tuple[pl.DataFrame, pl.DataFrame]) -> None:
    faces, frames = scores
    assert telling_frames(faces.clear(), frames, "pose_variation_low") == []
    unposed = faces.with_columns(yaw_deg=pl.lit(None, pl.Float32))
    assert {frame.why for frame in telling_frames(unposed, frames, None)} == {"no pose"}


def test_frames_on_both_sides_of_a_change(scores: tuple[pl.DataFrame, pl.DataFrame]) -> None:
    told = frames_around(*scores, 13)
    assert [frame.frame_index for frame in told] == [10, 11, 12, 13, 14, 15, 16]
    assert [frame.why for frame in told] == ["before"] * 3 + ["from the change on"] * 4
    assert told[0].time_s == 10 / 4
