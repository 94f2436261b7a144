"""How narrowly a clip was rejected."""

from collections.abc import Callable
from typing import Any

import pytest

from lafid_assets.constraints.margins import miss_shares
from lafid_assets.constraints.policies import FacePolicy
from lafid_assets.schemas import POSE_FILTERED_CLIPS


@pytest.mark.parametrize(
    ("measures", "reasons", "miss"),
    [
        ({"pose_variation_deg": 40.5}, ["pose_variation_low"], 0.1),
        ({"pose_variation_deg": 40.5, "sharpness": 10.0}, ["face_blurred", "pose_variation_low"], 0.5),
        ({"several_faces_share": 0.10}, ["several_faces"], 1.0),
        ({"face_frame_share": 0.0}, ["no_face"], 1.0),
    ],
)
def test_the_worst_miss_counts_as_a_share_of_its_threshold(
    row_of: Callable[..., dict[str, Any]], measures: dict[str, float], reasons: list[str], miss: float
) -> None:
    rejected = {"status": "rejected", "reason": reasons[0], "reasons": reasons, "keep": False}
    rows = POSE_FILTERED_CLIPS.frame(
        [
            row_of(POSE_FILTERED_CLIPS, clip_id="a", **measures, **rejected),
            row_of(POSE_FILTERED_CLIPS, clip_id="b", pose_variation_deg=1.0, reasons=[]),
        ]
    )
    [(clip, share)] = miss_shares(rows, FacePolicy()).rows()
    assert (clip, share) == ("a", pytest.approx(miss))
