"""What the scan's margins mean for a policy."""

from collections.abc import Callable
from typing import Any

import polars as pl
import pytest

from lafid_assets.constraints.policies import POLICIES, FacePolicy
from lafid_assets.constraints.scan_limits import audit, unseen_by_policy
from lafid_assets.faces.settings import ScanMargins
from lafid_assets.schemas import FACE_CLIPS, POSE_FILTERED_CLIPS

SETTINGS = {"default": ScanMargins().model_dump_json()}
DROPPED = {"no_face": 1, "several_faces": 2, "face_too_small": 3, "static": 4, "pose_variation_low": 5}


@pytest.fixture
def face_clips(row_of: Callable[..., dict[str, Any]]) -> pl.DataFrame:
    """Clips dropped by every verdict, one surveyed, and three audited."""
    rows = [
        {"tier": "scan", "scan_verdict": verdict, "scan_margins_sha256": "default", "status": "rejected", "reason": verdict}
        for verdict, count in DROPPED.items()
        for _ in range(count)
    ]
    rows.append({"tier": "survey", "scan_margins_sha256": "default", "status": "ok"})
    rows += [{"tier": "survey", "scan_verdict": "no_face", "scan_margins_sha256": "default", "status": "ok", "audited": True}] * 3
    known = {"audited": False}
    return FACE_CLIPS.frame(row_of(FACE_CLIPS, clip_id=f"c{n:02}", **known | row) for n, row in enumerate(rows))


@pytest.mark.parametrize(
    ("policy", "verdicts"),
    [
        ({}, set()),
        ({"pose_variation_min_deg": 10.0, "pose_spread_min_deg": 19.0}, {"pose_variation_low", "static"}),
        ({"pose_variation_min_deg": None, "pose_spread_min_deg": None}, {"pose_variation_low", "static"}),
        ({"pose_variation_min_deg": None, "pose_spread_min_deg": 20.0}, set()),
        ({"pose_spread_min_deg": 14.0}, {"pose_variation_low"}),
        ({"pose_spread_min_deg": None}, {"pose_variation_low"}),
        ({"face_height_share_min": 0.05}, {"face_too_small"}),
        ({"face_height_share_min": None}, {"face_too_small"}),
        ({"several_faces_share_max": 0.5}, {"several_faces"}),
        ({"several_faces_share_max": None}, {"several_faces"}),
        ({"several_faces_share_max": None, "faces_in_frame_max": 1}, set()),
        ({"prominent_area_ratio": 0.6}, {"several_faces"}),
        ({"face_frame_share_min": 0.1}, {"no_face"}),
        ({"face_frame_share_min": None}, {"no_face"}),
    ],
)
def test_a_looser_policy_is_told_how_many_it_cannot_see(
    face_clips: pl.DataFrame, policy: dict[str, float | None], verdicts: set[str]
) -> None:
    unseen = unseen_by_policy(FacePolicy(**policy), face_clips, SETTINGS)
    assert unseen.by_verdict == {verdict: DROPPED[verdict] for verdict in verdicts}
    assert unseen.count == sum(DROPPED[verdict] for verdict in verdicts)


def test_the_sentence_names_number_and_remedy(face_clips: pl.DataFrame) -> None:
    told = str(unseen_by_policy(POLICIES["faithfulfaces"], face_clips, SETTINGS))
    by_verdict = "face_too_small 3, no_face 1, pose_variation_low 5, several_faces 2"
    assert f"11 clips were dropped by the scan that it might keep ({by_verdict})" in told
    assert "`scan: off`" in told
    assert "no clip was dropped" in str(unseen_by_policy(FacePolicy(), face_clips, SETTINGS))


def test_every_clip_is_judged_by_the_margins_it_was_scanned_with(face_clips: pl.DataFrame) -> None:
    strict = ScanMargins(scan_min_pose_variation_deg=60.0).model_dump_json()
    strictly = pl.when(pl.col("clip_id") == "c14").then(pl.lit("strict")).otherwise("scan_margins_sha256")
    half = face_clips.with_columns(scan_margins_sha256=strictly)
    assert unseen_by_policy(FacePolicy(), half, SETTINGS | {"strict": strict}).by_verdict == {"pose_variation_low": 1}


def test_shards_surveyed_without_a_scan_hide_nothing(face_clips: pl.DataFrame) -> None:
    surveyed = face_clips.with_columns(tier=pl.lit("survey"), scan_verdict=pl.lit(None, pl.String))
    assert unseen_by_policy(POLICIES["faithfulfaces"], surveyed, SETTINGS).count == 0


def test_audit_counts_what_the_policy_keeps_of_audited_clips(
    face_clips: pl.DataFrame, row_of: Callable[..., dict[str, Any]]
) -> None:
    audited = face_clips.filter("audited")["clip_id"].to_list()
    decided = POSE_FILTERED_CLIPS.frame(
        row_of(POSE_FILTERED_CLIPS, clip_id=name, keep=name in ("c15", audited[1])) for name in ("c15", *audited)
    )
    findings = audit(face_clips, decided)
    assert (findings.audited, findings.wrongly_dropped, findings.rate) == (3, 1, pytest.approx(1 / 3))
    assert audit(face_clips.filter(~pl.col("audited")), decided).rate is None
