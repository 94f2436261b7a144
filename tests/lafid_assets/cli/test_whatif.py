"""`lafid whatif`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from lafid_assets.constraints.policies import POLICIES, FacePolicy
from lafid_assets.faces.settings import ScanMargins
from lafid_assets.policy_settings import settings_row
from lafid_assets.schemas import FACE_CLIPS, FACE_FRAMES, FACE_INFO, POSE_FILTERED_CLIPS, RAW_CLIPS

RowOf = Callable[..., dict[str, Any]]
GOOD = {"face_frame_share": 1.0, "several_faces_share": 0.0, "face_height_share": 0.4, "sharpness": 90.0, "posed_frames": 9}


def _tables(row_of: RowOf) -> dict[str, pl.DataFrame]:
    """Clips a to d turn by 10, 50, 70, 90 degrees; the extremes of each are single frames of ten."""
    decided, faces, frames = [], [], []
    margins, said_of_margins = settings_row(ScanMargins().model_dump_json())
    policy, said_of_policy = settings_row(FacePolicy().model_dump_json())
    scanned = {"tier": "scan", "scan_margins_sha256": margins, "scan_verdict": "pose_variation_low"}
    dropped = row_of(FACE_CLIPS, clip_id="e", status="rejected", reason="pose_variation_low", **scanned)
    for clip, degrees in zip("abcd", (10.0, 50.0, 70.0, 90.0), strict=True):
        low = {"status": "rejected", "reason": "pose_variation_low", "keep": False} if degrees < 45 else {"status": "ok"}
        settings = {"policy_sha256": policy, "pose_variation_deg": degrees}
        decided.append(row_of(POSE_FILTERED_CLIPS, clip_id=clip, **GOOD, **settings, **low))
        for n in range(10):
            pose = {"yaw_deg": 200.0 * (n == 9) * (clip == "a"), "pitch_deg": 0.0, "roll_deg": 0.0}
            box = {"head_height_px": 40.0, "frame_share": 0.1, "sharpness": 90.0}
            faces.append(row_of(FACE_INFO, clip_id=clip, frame_index=n, face_index=0, **pose, **box))
            frames.append(row_of(FACE_FRAMES, clip_id=clip, frame_index=n, width=200, height=100, face_count=1))
    return {
        "raw_clips": RAW_CLIPS.frame(row_of(RAW_CLIPS, clip_id=clip) for clip in "abcd"),
        "face_clips": FACE_CLIPS.frame([*(row_of(FACE_CLIPS, clip_id=clip) for clip in "abcd"), dropped]),
        "face_info": FACE_INFO.frame(faces),
        "face_frames": FACE_FRAMES.frame(frames),
        "pose_filtered_clips": POSE_FILTERED_CLIPS.frame(decided),
        "policy_settings": pl.concat([said_of_margins, said_of_policy]),
    }


def _contents(home: Path) -> dict[Path, bytes]:
    """Without what SQLite keeps beside its file while it is open."""
    files = [path for path in home.rglob("*") if path.is_file() and not path.name.endswith(("-shm", "-wal"))]
    return {path: path.read_bytes() for path in files}


def test_threshold_is_moved_over_stored_measures(lafid: Any, publish: Any, row_of: RowOf, home: Path) -> None:
    publish(_tables(row_of))
    before = _contents(home)
    lafid("whatif", "--set", "pose_variation_min_deg=60")
    assert _contents(home) == before, "nothing is written unasked"
    ended = lafid("whatif", "--set", "pose_variation_min_deg=60", "--out", home / "picture.png")
    assert (ended.code, ended.err) == (0, "")
    assert "pose_variation_min_deg: 45.0 -> 60.0" in ended.out
    assert "keep 3 of 4 judged clips now, 2 under cofe+" in ended.out
    histogram = [line for line in ended.out.splitlines() if "#" in line or ": 45" in line or ": 60" in line]
    assert [line.split()[4] for line in histogram if "#" in line] == ["1"] * 4, "a bar for each of four clips"
    assert any(line.endswith("now: 45") for line in histogram)
    assert any(line.endswith("then: 60") for line in histogram)
    assert (home / "picture.png").read_bytes().startswith(b"\x89PNG")
    (home / "picture.png").unlink()
    assert _contents(home) == before, "nothing but the picture was written"


def test_what_is_measured_otherwise_is_measured_from_the_faces(lafid: Any, publish: Any, row_of: RowOf) -> None:
    publish(_tables(row_of))
    out = lafid("whatif", "--set", "range_percentile=0").out
    assert "keep 3 of 4 judged clips now, 1 under cofe+" in out, "only clip a has a frame that is turned"


def test_clips_that_the_scan_dropped_are_counted_where_the_policy_might_keep_them(
    lafid: Any, publish: Any, row_of: RowOf
) -> None:
    publish(_tables(row_of))
    looser = ("--set", "pose_variation_min_deg=10", "--set", "pose_spread_min_deg=none")
    assert "1 clips were dropped by the scan" in lafid("whatif", *looser).out
    assert "dropped by the scan" not in lafid("whatif", "--set", "pose_variation_min_deg=60").out


def test_another_policy_is_asked_by_name(lafid: Any, publish: Any, row_of: RowOf) -> None:
    publish(_tables(row_of))
    out = lafid("whatif", "--policy", "faithfulfaces").out
    assert f"pose_variation_min_deg: 45.0 -> {POLICIES['faithfulfaces'].pose_variation_min_deg}" in out
    assert "under faithfulfaces;" in out, "a shipped policy is named as it is"
    assert "pose_variation_deg over all judged clips" in out, "of the thresholds that moved, the one that counts"


def test_without_a_question_it_asks_the_homes_file(lafid: Any, publish: Any, row_of: RowOf, home: Path) -> None:
    publish(_tables(row_of))
    (home / "lafid.toml").write_text("[pose_filtered_clips]\npose_variation_min_deg = 60.0\n")
    assert "pose_variation_min_deg: 45.0 -> 60.0" in lafid("whatif").out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--set", "pose_variation=60"], "a policy has no pose_variation: it has name, "),
        (["--set", "sharpness_min"], "--set wants field=value"),
        (["--policy", "coffee"], "no policy 'coffee'"),
    ],
)
def test_wrong_question_is_one_line(lafid: Any, publish: Any, row_of: RowOf, arguments: list[str], message: str) -> None:
    publish(_tables(row_of))
    assert message in lafid("whatif", *arguments).error


def test_before_anything_is_curated_it_says_how_to_begin(lafid: Any) -> None:
    assert "run `make demo` or `lafid curate DIR` first" in lafid("whatif").error
