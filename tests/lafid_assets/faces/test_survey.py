"""The dense tier: a real engine on a portrait, and an engine that sees drawn faces."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray
from PIL import Image

from lafid_assets.constraints.policies import FacePolicy
from lafid_assets.faces.settings import AnalysisSettings
from lafid_assets.faces.survey import TierRows, survey_clip
from lafid_assets.outcomes import Reason
from lafid_assets.schemas import FACE_FRAMES, FACE_INFO, SHOT_BOUNDARIES
from model.face_engine.dlib_engine import DlibEngine

SIDE_PX = 192
ENGINE = {"engine": "x", "engine_version": "x", "engine_licence": "x", "engine_reason": "x"}


def _small(portrait: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Head and shoulders of the portrait, (192, 192, 3)."""
    return np.asarray(Image.fromarray(portrait[:320, 64:384]).resize((SIDE_PX, SIDE_PX)), np.uint8)


@pytest.fixture(scope="module")
def portrait_clip(
    tmp_path_factory: pytest.TempPathFactory, portrait: NDArray[np.uint8], write_video: Callable[..., Path]
) -> Path:
    """Four tenths of a second: the portrait, and an empty wall in the last frame."""
    face = _small(portrait)
    return write_video(tmp_path_factory.mktemp("survey") / "clip.mp4", pictures=np.stack([*[face] * 3, np.full_like(face, 128)]))


@pytest.fixture
def crossing(tmp_path: Path, write_video: Callable[..., Path], draw_face: Callable[..., Any]) -> Path:
    """Two seconds: a red face moves to the right, a blue one, smaller, stands and is gone at the end."""
    moments = [(("red", 10 + 4 * n, 10, 40), *([("blue", 120, 60, 20)] if n < 15 else [])) for n in range(20)]
    pictures = np.stack([draw_face(*faces, moment=n) for n, faces in enumerate(moments)])
    return write_video(tmp_path / "crossing.mp4", pictures=pictures, options={"crf": "5"})


def _survey(path: Path, engine: Any, chunk_bytes: int = 2**26, **settings: Any) -> TierRows:
    return survey_clip("a", "shard-00000", path, AnalysisSettings(**{"rate_hz": 5.0} | settings), engine, chunk_bytes)


def _tables(rows: TierRows) -> dict[str, pl.DataFrame]:
    found = {
        "face_frames": FACE_FRAMES.frame(row | ENGINE for row in rows.frames),
        "face_info": FACE_INFO.frame({name: (row | ENGINE)[name] for name in FACE_INFO.dtypes} for row in rows.faces),
    }
    for table in (FACE_FRAMES, FACE_INFO):
        assert table.violations(found[table.name]) == []
    return found


def test_every_measure_of_a_real_face_is_there(portrait_clip: Path) -> None:
    rows = _survey(portrait_clip, DlibEngine(), rate_hz=10.0)
    assert (rows.frames_asked, rows.fault) == (4, None)
    tables = _tables(rows)
    assert tables["face_frames"]["face_count"].to_list() == [1, 1, 1, 0]
    assert tables["face_frames"]["luminance"][3] == pytest.approx(128, abs=3)
    face = tables["face_info"].row(0, named=True)
    assert (face["tier"], face["track_id"], face["face_index"]) == ("survey", 0, 0)
    assert len(face["landmarks_px"]) == 2 * 68
    assert np.linalg.norm(rows.faces[0]["embedding"]) == pytest.approx(1, abs=1e-5)
    assert len(face["rotation"]) == 9
    assert abs(face["yaw_deg"]) < 45
    assert face["coarse_yaw_deg"] == pytest.approx(face["yaw_deg"], abs=15)
    assert face["sharpness"] > 0
    assert face["head_height_px"] == pytest.approx(1.25 * (face["box_y2"] - face["box_y1"]), rel=0.2)
    assert 0.03 < face["eye_opening"] < 0.15 < face["brow_height"] < 0.35 < face["mouth_width"] < 0.8
    width, height = face["box_x2"] - face["box_x1"], face["box_y2"] - face["box_y1"]
    assert face["frame_share"] == pytest.approx(width * height / SIDE_PX**2)


def test_every_face_is_a_row_and_keeps_its_track(crossing: Path, drawn_engine: Any) -> None:
    tables = _tables(_survey(crossing, drawn_engine))
    frames, faces = tables["face_frames"], tables["face_info"]
    assert frames["frame_index"].to_list() == list(range(0, 20, 2))
    assert frames["face_count"].to_list() == [2] * 8 + [1] * 2
    assert faces.filter(pl.col("face_index") == 0)["track_id"].to_list() == [0] * 10
    assert faces.filter(pl.col("face_index") == 1)["track_id"].to_list() == [1] * 8
    red = faces.filter(pl.col("track_id") == 0)
    assert red["box_x1"].to_list() == pytest.approx([10 + 4 * n for n in range(0, 20, 2)], abs=1)
    assert red["yaw_deg"].is_sorted(descending=True)


def test_a_cut_is_found_between_the_sampled_frames_too(
    tmp_path: Path, write_video: Callable[..., Path], draw_face: Callable[..., Any], drawn_engine: Any
) -> None:
    pictures = np.stack(
        [draw_face(("red", 60, 20, 40)) if n < 7 else 255 - draw_face(("blue", 20, 40, 50))[:, ::-1] for n in range(20)]
    )
    path = write_video(tmp_path / "cut.mp4", pictures=pictures, options={"crf": "5"})
    rows = _survey(path, drawn_engine, rate_hz=1.0)
    assert len(rows.frames) == 2
    [row] = SHOT_BOUNDARIES.frame(rows.boundaries).to_dicts()
    assert (row["kind"], row["last_s_before"], row["first_s_behind"]) == ("hard", pytest.approx(0.6), pytest.approx(0.7))
    assert row["score"] > (FacePolicy().hard_cut_score_max or 0)


def test_the_size_of_chunks_does_not_change_a_row(crossing: Path, drawn_engine: Any) -> None:
    of_one = _survey(crossing, drawn_engine, chunk_bytes=1)
    assert drawn_engine.asked == ["detect_many 1"] * 10
    drawn_engine.asked.clear()
    of_three = _survey(crossing, drawn_engine, chunk_bytes=3 * 160 * 96 * 3)
    assert drawn_engine.asked == ["detect_many 3"] * 3 + ["detect_many 1"]
    assert of_one == of_three


def test_a_clip_cut_short_is_a_fault_that_keeps_its_rows(
    tmp_path: Path, write_video: Callable[..., Path], draw_face: Callable[..., Any], drawn_engine: Any
) -> None:
    noise = np.random.default_rng(0).integers(0, 60, (20, 96, 160, 3), np.uint8)
    pictures = np.minimum(draw_face(("red", 60, 20, 40)) // 2 + noise, 255).astype(np.uint8)
    path = write_video(tmp_path / "cut.mp4", pictures=pictures, container_options={"movflags": "faststart"})
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 3])
    rows = _survey(path, drawn_engine, rate_hz=10.0)
    assert rows.fault is not None
    assert rows.fault.reason == Reason.DECODE_FAILED
    assert re.search(
        r"its pictures end after 0\.\d+ s of 2\.00 s that the header promises: the file is cut short", str(rows.fault)
    )
    assert 1 <= len(rows.frames) < 10
