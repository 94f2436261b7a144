"""The asset: what it says about the scan beside its decision."""

from collections.abc import Callable
from typing import Any

import dagster as dg
import pytest

from lafid_assets.constraints.pose_filtered_clips import pose_filtered_clips
from lafid_assets.definitions import build_resources
from lafid_assets.faces.settings import ScanMargins
from lafid_assets.partitions import CLIP_SHARDS
from lafid_assets.schemas import FACE_CLIPS, FACE_FRAMES, FACE_INFO, RAW_CLIPS
from resources.settings import Settings
from resources.shard_store import ShardStore

SHARD = "shard-00000"
TURNS = (-30.0, -10.0, 10.0, 30.0)


@pytest.fixture
def run(settings: Settings, store: ShardStore, row_of: Callable[..., dict[str, Any]]) -> Callable[..., Any]:
    """Materialize over a dropped clip, an audited one (which turns, or does not) and a surveyed one that turns."""

    def of(*, audited_turns: bool, **policy: Any) -> Any:
        scanned = {"shard": SHARD, "scan_margins": ScanMargins().model_dump_json(), "audited": False}
        clips = [
            {"clip_id": "dropped", "tier": "scan", "scan_verdict": "face_too_small"}
            | {"status": "rejected", "reason": "face_too_small"},
            {"clip_id": "audited", "tier": "survey", "scan_verdict": "pose_variation_low", "status": "ok", "audited": True},
            {"clip_id": "turning", "tier": "survey", "status": "ok"},
        ]  # fmt: skip
        faces, frames = [], []
        for clip, turns in (("audited", audited_turns), ("turning", True)):
            for frame, yaw in enumerate(TURNS):
                known = {"clip_id": clip, "shard": SHARD, "frame_index": frame, "tier": "survey"}
                frames.append(row_of(FACE_FRAMES, **known, height=100, face_count=1))
                pose = {"yaw_deg": yaw if turns else 0.0, "pitch_deg": 0.0, "roll_deg": 0.0}
                box = {"box_x1": 0, "box_y1": 0, "box_x2": 40, "box_y2": 40, "frame_share": 0.2}
                faces.append(row_of(FACE_INFO, **known, face_index=0, **box, **pose, sharpness=50.0))
        tables = {
            "raw_clips": RAW_CLIPS.frame(row_of(RAW_CLIPS, clip_id=clip["clip_id"], shard=SHARD, status="ok") for clip in clips),
            "face_clips": FACE_CLIPS.frame(row_of(FACE_CLIPS, **scanned | clip) for clip in clips),
            "face_frames": FACE_FRAMES.frame(frames),
            "face_info": FACE_INFO.frame(faces),
        }
        for name, table in tables.items():
            store.write_group({name: table}, SHARD, f"{name}{audited_turns}")
        instance = dg.DagsterInstance.ephemeral()
        instance.add_dynamic_partitions(CLIP_SHARDS.name, [SHARD])
        return dg.materialize(
            [pose_filtered_clips],
            instance=instance,
            resources=build_resources(settings),
            partition_key=SHARD,
            run_config={"ops": {"pose_filtered_clips": {"config": policy}}} if policy else None,
        )

    return of


def _checks(result: Any) -> dict[str, Any]:
    return {check.check_name: check for check in result.get_asset_check_evaluations()}


def _metadata(result: Any) -> dict[str, Any]:
    [event] = result.get_asset_materialization_events()
    return {name: value.value for name, value in event.materialization.metadata.items()}


def test_nothing_to_warn_of(run: Callable[..., Any], store: ShardStore) -> None:
    result = run(audited_turns=False)
    checks = _checks(result)
    assert checks["scan_covers_policy"].passed
    assert checks["scan_false_rejections"].passed
    said = _metadata(result)
    assert (said["clips_unseen_by_policy"], said["scan_audited"], said["scan_wrongly_dropped"]) == (0, 1, 0)
    assert said["scan_false_rejection_rate"] == 0
    decided = store.read_table("pose_filtered_clips", SHARD).select("clip_id", "status", "reason", "detail")
    assert decided.rows() == [
        ("audited", "rejected", "pose_variation_low", None),
        ("dropped", "skipped", "upstream", "face_info: face_too_small"),
        ("turning", "ok", None, None),
    ]


def test_a_clip_that_the_scan_dropped_wrongly_is_a_warning(run: Callable[..., Any]) -> None:
    result = run(audited_turns=True)
    check = _checks(result)["scan_false_rejections"]
    assert result.success
    assert (check.passed, check.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert check.metadata["first"].value == "1 of 1 audited clips would be kept"
    assert _metadata(result)["scan_false_rejection_rate"] == 1.0


def test_a_policy_that_is_looser_than_the_scan_is_told_so(run: Callable[..., Any]) -> None:
    result = run(audited_turns=False, face_height_share_min=0.05)
    check = _checks(result)["scan_covers_policy"]
    assert result.success
    assert (check.passed, check.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert "1 clips were dropped by the scan that it might keep (face_too_small 1)" in check.metadata["first"].value
    assert _metadata(result)["clips_unseen_by_policy"] == 1
