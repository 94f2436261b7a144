"""`lafid explain`."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from PIL import Image

from lafid_assets.constraints.policies import FacePolicy
from lafid_assets.schemas import FACE_CLIPS, FACE_FRAMES, FACE_INFO, POSE_FILTERED_CLIPS, RAW_CLIPS

RowOf = Callable[..., dict[str, Any]]
CLIP = "ab" * 16


@pytest.fixture
def tables(row_of: RowOf, write_video: Callable[..., Path], tmp_path: Path) -> dict[str, pl.DataFrame]:
    """One clip of ten frames, rejected for its poses; another one whose id begins with the same letter."""
    write_video(tmp_path / "clips" / "a.mp4")
    low = {"status": "rejected", "reason": "pose_variation_low", "reasons": ["pose_variation_low"], "keep": False}
    measures = {"face_frame_share": 1.0, "pose_variation_deg": 44.0, "policy_settings": FacePolicy().model_dump_json()}
    faces = [row_of(FACE_INFO, clip_id=CLIP, frame_index=n, face_index=0, yaw_deg=n, pitch_deg=0, roll_deg=0) for n in range(10)]
    return {
        "raw_clips": RAW_CLIPS.frame(
            [
                row_of(RAW_CLIPS, clip_id=CLIP, clip_root=str(tmp_path / "clips"), path="a.mp4", caption="a person"),
                row_of(RAW_CLIPS, clip_id="a0" * 16),
            ]
        ),
        "face_clips": FACE_CLIPS.frame([row_of(FACE_CLIPS, clip_id=CLIP)]),
        "face_info": FACE_INFO.frame(faces),
        "face_frames": FACE_FRAMES.frame(
            row_of(FACE_FRAMES, clip_id=CLIP, frame_index=n, time_s=n / 10, face_count=1) for n in range(10)
        ),
        "pose_filtered_clips": POSE_FILTERED_CLIPS.frame([row_of(POSE_FILTERED_CLIPS, clip_id=CLIP, **measures, **low)]),
    }


def test_rules_with_thresholds_and_the_frames_that_decided(lafid: Any, publish: Any, tables: Any, home: Path) -> None:
    publish(tables)
    ended = lafid("explain", "aba")
    assert (ended.code, ended.err) == (0, "")
    line = next(line for line in ended.out.splitlines() if "pose_variation_deg" in line and "at least" in line)
    assert all(word in line for word in ("pose_variation_low", "44", "at least 45", "missed"))
    assert "a person" in ended.out
    strip = Image.open(io.BytesIO((home / "explain" / f"{CLIP}.png").read_bytes()))
    assert strip.width > strip.height, "two frames side by side: the least and the most turned one"


def test_clip_whose_file_is_gone_is_explained_without_pictures(lafid: Any, publish: Any, tables: Any, tmp_path: Path) -> None:
    publish(tables)
    (tmp_path / "clips" / "a.mp4").unlink()
    ended = lafid("explain", CLIP)
    assert ended.code == 0
    assert "no pictures: the file is gone" in ended.out


def test_clip_that_was_not_judged_is_explained_so_far(lafid: Any, publish: Any, tables: Any) -> None:
    publish({name: tables[name] for name in ("raw_clips", "face_clips")})
    ended = lafid("explain", CLIP, "--out", "unused.png")
    assert ended.code == 0
    assert "no pictures: no frame was analysed" in ended.out


@pytest.mark.parametrize(("clip", "message"), [("zz", "there is no clip 'zz'"), ("a", "2 clips begin with 'a'")])
def test_unclear_id_is_one_line(lafid: Any, publish: Any, tables: Any, clip: str, message: str) -> None:
    publish(tables)
    assert message in lafid("explain", clip).error
