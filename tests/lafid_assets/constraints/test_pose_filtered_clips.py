"""The asset: what it says about the scan beside its decision."""

from collections.abc import Callable
from typing import Any

import dagster as dg
import pytest

from lafid_assets.constraints.policies import FacePolicy
from lafid_assets.constraints.pose_filtered_clips import STEP, PoseFilteredClipsConfig, pose_filtered_clips
from lafid_assets.faces.settings import ScanMargins
from lafid_assets.policy_settings import all_settings, settings_row
from lafid_assets.schemas import FACE_CLIPS, FACE_FRAMES, FACE_INFO, RAW_CLIPS
from lafid_assets.steps.partitions import CLIP_SHARDS
from lafid_assets.steps.staleness import stale_shards
from resources.lake.lake import Lake
from resources.settings import Settings

SHARD = "shard-00000"
TURNS = (-30.0, -10.0, 10.0, 30.0)


@pytest.fixture
def run(lake: Lake, row_of: Callable[..., dict[str, Any]], lay_clips: Callable[..., None]) -> Callable[..., Any]:
    """Materialize over a dropped clip, an audited one (which turns, or does not) and a surveyed one that turns."""

    def of(*, audited_turns: bool = False, luminance: float | None = None, **policy: Any) -> Any:
        sha256, margins = settings_row(ScanMargins().model_dump_json())
        scanned = {"shard": SHARD, "scan_margins_sha256": sha256, "audited": False}
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
        released = {"shard": SHARD, "status": "ok", "luminance_min": luminance}
        raw = [row_of(RAW_CLIPS, clip_id=clip["clip_id"], path=clip["clip_id"], clip_root="/", **released) for clip in clips]
        tables = {
            "face_clips": FACE_CLIPS.frame(row_of(FACE_CLIPS, **scanned | clip) for clip in clips),
            "face_frames": FACE_FRAMES.frame(frames),
            "face_info": FACE_INFO.frame(faces),
        }
        lay_clips(lake, RAW_CLIPS.frame(raw), SHARD)
        lake.put(tables | {"policy_settings": margins}, SHARD, "f")
        instance = dg.DagsterInstance.ephemeral()
        instance.add_dynamic_partitions(CLIP_SHARDS.name, [SHARD])
        return dg.materialize(
            [pose_filtered_clips],
            instance=instance,
            resources={"settings": Settings(home=lake.home, store_uri=lake.store.uri), "lake": lake},
            partition_key=SHARD,
            run_config={"ops": {"pose_filtered_clips": {"config": policy}}} if policy else None,
        )

    return of


def _checks(result: Any) -> dict[str, Any]:
    return {check.check_name: check for check in result.get_asset_check_evaluations()}


def _metadata(result: Any) -> dict[str, Any]:
    [event] = result.get_asset_materialization_events()
    return {name: value.value for name, value in event.materialization.metadata.items()}


def test_nothing_to_warn_of(run: Callable[..., Any], lake: Lake) -> None:
    result = run(audited_turns=False)
    checks = _checks(result)
    assert checks["scan_covers_policy"].passed
    assert checks["scan_false_rejections"].passed
    said = _metadata(result)
    assert (said["clips_unseen_by_policy"], said["scan_audited"], said["scan_wrongly_dropped"]) == (0, 1, 0)
    assert said["audit_rate"] == 0
    decided = lake.read("pose_filtered_clips", SHARD, ["clip_id", "status", "reason", "detail"])
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
    assert _metadata(result)["audit_rate"] == 1.0


def test_a_policy_that_is_looser_than_the_scan_is_told_so(run: Callable[..., Any]) -> None:
    result = run(audited_turns=False, face_height_share_min=0.05)
    check = _checks(result)["scan_covers_policy"]
    assert result.success
    assert (check.passed, check.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert "1 clips were dropped by the scan that it might keep (face_too_small 1)" in check.metadata["first"].value
    assert _metadata(result)["clips_unseen_by_policy"] == 1


def test_the_policy_is_written_once_and_rows_name_it(run: Callable[..., Any], lake: Lake) -> None:
    run()
    [sha256] = lake.read("pose_filtered_clips", SHARD)["policy_sha256"].unique()
    assert FacePolicy.model_validate_json(all_settings(lake)[sha256]) == FacePolicy()


def test_what_was_not_released_is_judged_as_measured(run: Callable[..., Any], lake: Lake) -> None:
    gate = {"luminance_min": 10.0, "blur_min": 0.5, "measured_motion_min": 0.5}
    run(luminance=11.0, **gate)
    measured = "luminance_min = 2.0, luminance_max = 3.0, blur_min = 0.1, measured_motion = 0.1"
    lake.commit(lambda reader: reader.cursor.execute(f"UPDATE face_clips SET {measured} WHERE clip_id = 'turning'"))
    columns = ["luminance_min", "luminance_max", "luminance_origin", "blur_min", "blur_origin", "measured_motion"]
    known = lake.read("picture_measures", SHARD, ["clip_id", *columns]).sort("clip_id").rows()
    released = (11.0, None, "released")
    assert known == [
        ("audited", *released, None, None, None),
        ("dropped", *released, None, None, None),
        ("turning", *released, pytest.approx(0.1), "measured", pytest.approx(0.1)),
    ]
    lake.commit(lambda reader: reader.cursor.execute("UPDATE clip_rows SET luminance_min = NULL, global_motion = 1"))
    [row] = lake.read("picture_measures", SHARD, columns, where="clip_id = 'turning'").rows()
    assert row == (2.0, 3.0, "measured", pytest.approx(0.1), "measured", None)


def test_other_released_measures_decide_anew_where_a_rule_reads_them(run: Callable[..., Any], lake: Lake) -> None:
    """They belong to files, and a clip is not changed by a file more: its shard's stamps may stay as they are."""

    def stale(**policy: float) -> bool:
        with lake.snapshot() as reader:
            return bool(stale_shards(reader, [(STEP, PoseFilteredClipsConfig(**policy))], [SHARD]))

    gate = {"luminance_min": 10.0}
    run(luminance=20.0, **gate)
    assert not stale(**gate)
    for luminance, changes in ((11.0, False), (None, True), (9.5, True)):
        lake.commit(lambda reader, now=luminance: reader.cursor.execute(f"UPDATE clip_rows SET luminance_min = {now or 'NULL'}"))
        assert stale(**gate) == changes
    assert _metadata(run(luminance=9.5, **gate))["computed"]
    assert lake.read("pose_filtered_clips", SHARD)["reason"].to_list() == ["luminance_outside", "upstream", "luminance_outside"]
    assert not stale(**gate)
    run(luminance=9.5)
    lake.commit(lambda reader: reader.cursor.execute("UPDATE clip_rows SET luminance_min = 1"))
    assert not stale()
