"""Which rows still count: fingerprints hold what the step reads, and nothing else."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lafid_assets.faces import clip_record
from lafid_assets.faces.clip_analysis import AnalysedClip, AnalysisSettings, ClipTask
from lafid_assets.faces.clip_record import Engine, Fingerprints, clip_frames, expression_measures, fingerprints
from lafid_assets.faces.shard_limits import ShardLimits
from lafid_assets.outcomes import REASONS, Reason, Status
from lafid_assets.schemas import FACE_CLIPS, SHOT_BOUNDARIES
from lafid_assets.workers.exit_reasons import TRIED_AGAIN
from lafid_assets.workers.pool import Done
from model.face_engine.interface import EngineInfo
from model.face_engine.rotations import rotation_from_angles

INFO = EngineInfo("played", "1.0", 4, "CC0", "weights")


def _prints(limits: ShardLimits | None = None, info: EngineInfo = INFO, **settings: Any) -> Fingerprints:
    return fingerprints(AnalysisSettings(**settings), limits or ShardLimits(), info)


@pytest.mark.parametrize(
    "changed",
    [{"rate_hz": 2.0}, {"max_frames": 9}, {"scan": False}, {"scan_looks": 9}, {"info": replace(INFO, fingerprint="other")}],
)
def test_measures_depend_on_settings_and_engine(changed: dict[str, Any]) -> None:
    assert _prints(**changed).measures != _prints().measures
    assert _prints(**changed).trial != _prints().trial


def test_measures_depend_on_the_code(monkeypatch: pytest.MonkeyPatch) -> None:
    before = _prints()
    monkeypatch.setattr(clip_record, "CODE_VERSION", "next")
    assert _prints().measures != before.measures


def test_by_which_name_the_engine_was_asked_for_does_not_matter() -> None:
    assert _prints(engine="dlib") == _prints(engine="auto")


def test_limits_belong_to_the_trial_alone() -> None:
    other = _prints(ShardLimits(memory_limit_mib=100))
    assert other.measures == _prints().measures
    assert other.trial != _prints().trial


def test_row_counts_for_its_content_and_for_what_it_was_made_under() -> None:
    prints = Fingerprints("measures", "trial")
    for reason in (None, Reason.DECODE_FAILED, Reason.NO_FACE):
        row = {"reason": reason, "fingerprint": "measures", "content_sha256": "a"}
        assert prints.still_counts(row, "a")
        assert not prints.still_counts(row, "b")
        assert not prints.still_counts(row | {"fingerprint": "trial"}, "a")
    for reason in (Reason.CRASHED, Reason.QUARANTINED):
        row = {"reason": reason, "fingerprint": "trial", "content_sha256": "a"}
        assert prints.still_counts(row, "a")
        assert not prints.still_counts(row | {"fingerprint": "measures"}, "a")


def test_nothing_that_was_measured_is_tried_again() -> None:
    assert TRIED_AGAIN.isdisjoint({*REASONS[Status.REJECTED], Reason.DECODE_FAILED, Reason.QUARANTINED})


@pytest.mark.parametrize(
    ("tier", "found", "scores"),
    [
        ("survey", [("hard", 1.5), ("gradual", 1.2), ("hard", 3.0)], (3.0, 1.2)),
        ("survey", [("hard", 1.5)], (1.5, 0.0)),
        ("scan", [("hard", 1.5)], (1.5, 0.0)),
        ("scan", None, (None, None)),
    ],
)
def test_cut_scores_of_a_clip_are_the_highest_and_unknown_without_a_search(
    tier: str, found: list[tuple[str, float]] | None, scores: tuple[float | None, float | None]
) -> None:
    place = dict.fromkeys(("last_pts_before", "first_pts_behind", "time_base_num", "time_base_den"), 1)
    seconds = {"last_s_before": 0.1, "first_s_behind": 0.2}
    rows = [
        {"clip_id": "a", "shard": "s", "boundary_index": number, "kind": kind, "score": score} | place | seconds
        for number, (kind, score) in enumerate(found or [])
    ]
    boundaries = None if found is None else rows
    ending = Done(AnalysedClip(Status.OK, None, None, tier, None, False, 3, boundaries=boundaries))
    task = ClipTask("a", "s", Path("a"), 1.0, "sha", AnalysisSettings())
    frames = clip_frames(task, ending, 1, Engine(INFO, "asked for"), Fingerprints("measures", "trial"))
    assert frames["face_clips"].select("hard_cut_score", "gradual_cut_score").row(0) == scores
    assert frames["shot_boundaries"]["score"].to_list() == [score for _, score in found or []]
    for table in (FACE_CLIPS, SHOT_BOUNDARIES):
        assert table.violations(frames[table.name]) == []


def _face(yaw: float | None, embedding_deg: float, **values: Any) -> dict[str, Any]:
    """A face of the main track whose embedding is a direction in the plane."""
    rotation = None if yaw is None else rotation_from_angles(yaw, 0, 0).ravel().tolist()
    embedding = [float(np.cos(np.deg2rad(embedding_deg))), float(np.sin(np.deg2rad(embedding_deg)))]
    known = {"track_id": 0, "face_index": 0, "rotation": rotation, "embedding": embedding}
    return known | dict.fromkeys(("mouth_opening", "eye_opening", "brow_height", "mouth_width")) | values


def test_ranges_are_of_the_main_track_and_leave_out_the_outermost() -> None:
    smiling = [_face(0.0, 0.0, mouth_width=0.4 + 0.01 * n) for n in range(21)]
    beside = [_face(0.0, 0.0, mouth_width=9.0, track_id=1, face_index=1)] * 21
    measures = expression_measures([*smiling, *beside])
    assert measures["mouth_width_range"] == pytest.approx(0.18)
    assert measures["eye_opening_range"] is None


def test_embeddings_are_compared_at_like_poses_only() -> None:
    """Turned away, the face looks otherwise and that is no expression; nine degrees away it smiles."""
    turned = [_face(60.0, 60.0), _face(0.0, 0.0), _face(9.0, 20.0)]
    spread = expression_measures(turned)["expression_spread"]
    assert spread == pytest.approx(1 - np.cos(np.deg2rad(20)))
    assert expression_measures([_face(60.0, 60.0), _face(0.0, 0.0), _face(-30.0, 20.0)])["expression_spread"] is None


@pytest.mark.parametrize("faces", [[], [_face(0.0, 0.0)] * 2, [_face(0.0, 0.0, track_id=None)] * 5, [_face(None, 0.0)] * 5])
def test_what_cannot_be_measured_is_null(faces: list[dict[str, Any]]) -> None:
    assert set(expression_measures(faces).values()) == {None}
