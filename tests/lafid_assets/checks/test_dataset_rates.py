"""Rates of all shards together, step by step."""

from collections.abc import Callable
from typing import Any

import polars as pl

from lafid_assets.checks.dataset_rates import audit_rate, figures_in_all, step_rates, whole_rates
from lafid_assets.schemas import FACE_CLIPS, POSE_FILTERED_CLIPS
from resources.lake.lake import Lake
from tests.lafid_assets.checks.versions import keep_version

ENDED = [
    ("error", "raw_clips", "crashed", 1),
    ("skipped", "raw_clips", "split", 1),
    ("timeout", "face_clips", "deadline", 2),
    ("rejected", "pose_filtered_clips", "no_face", 2),
    ("skipped", "reference_crops", "not_processed", 1),
    ("kept", "", "", 3),
]


def test_a_step_counts_the_clips_that_all_before_it_passed(funnel: Callable[..., pl.DataFrame]) -> None:
    of_asset = {step.asset: (step.clips_in, step.passed, step.failed) for step in step_rates(funnel(*ENDED))}
    assert of_asset == {
        "raw_clips": (10, 8, 1),
        "face_info": (8, 6, 2),
        "pose_filtered_clips": (6, 4, 0),
        **dict.fromkeys(("id_consistent_clips", "speech_info", "speech_tagged_clips", "duplicate_clips"), (4, 4, 0)),
    }
    assert whole_rates(funnel(*ENDED)).rates == {"keep_rate": 3 / 10, "error_rate": 3 / 10}


def test_a_step_that_no_clip_reached_has_no_rate(funnel: Callable[..., pl.DataFrame]) -> None:
    steps = {step.asset: step.in_all for step in step_rates(funnel(("error", "raw_clips", "crashed", 2)))}
    assert steps["raw_clips"] == {"clips_in_all": 2, "keep_rate_in_all": 0, "error_rate_in_all": 1}
    assert steps["face_info"] == {"clips_in_all": 0}


def test_audits_of_all_shards_count_together(lake: Lake, row_of: Callable[..., dict[str, Any]]) -> None:
    """Only the clips that were surveyed to the end; kept ones are those that the scan would have dropped wrongly."""
    with lake.snapshot() as reader:
        assert audit_rate(reader) == {}
    kept = {"one": [("a", True), ("b", False)], "two": [("c", False), ("d", False), ("unsurveyed", False), ("usual", True)]}
    for shard, clips in kept.items():
        named = {clip: {"clip_id": clip, "shard": shard} for clip, _ in clips}
        lost = {"status": "error", "reason": "crashed"}
        looked = [
            row_of(FACE_CLIPS, **named[clip], audited=clip != "usual", **(lost if clip == "unsurveyed" else {}))
            for clip, _ in clips
        ]
        judged = [row_of(POSE_FILTERED_CLIPS, **named[clip], keep=keep) for clip, keep in clips]
        frames = {FACE_CLIPS.name: FACE_CLIPS.frame(looked), POSE_FILTERED_CLIPS.name: POSE_FILTERED_CLIPS.frame(judged)}
        lake.put(frames, shard, "f")
    with lake.snapshot() as reader:
        assert audit_rate(reader) == {"audit_rate": 1 / 4}


def test_figures_in_all_are_those_of_the_standing_version(
    lake: Lake, row_of: Callable[..., dict[str, Any]], funnel: Callable[..., pl.DataFrame]
) -> None:
    with lake.snapshot() as reader:
        assert figures_in_all(reader) == {"lafid_dataset": {}}
    keep_version(lake, row_of, "first", funnel=funnel(("kept", "", "", 4)).to_dicts())
    keep_version(lake, row_of, "second", funnel=funnel(*ENDED).to_dicts())
    keep_version(lake, row_of, "first", funnel=None)
    with lake.snapshot() as reader:
        figures = figures_in_all(reader)
    assert figures["lafid_dataset"] == {"clips_in_all": 4, "keep_rate_in_all": 1.0, "error_rate_in_all": 0.0}
    assert figures["pose_filtered_clips"]["clips_in_all"] == 4
