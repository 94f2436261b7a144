"""`face_info` end to end: real engine, real children, one clip that brings its child down."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray
from PIL import Image

from lafid_assets.definitions import build_resources
from lafid_assets.faces import face_info as module
from lafid_assets.faces.face_info import face_info, measure_fingerprint, survey_shard
from lafid_assets.faces.survey import SurveyedClip, SurveySettings, SurveyTask, survey_clip
from lafid_assets.partitions import CLIP_SHARDS
from lafid_assets.schemas import FACE_CLIPS, FACE_FRAMES, FACE_INFO, RAW_CLIPS
from resources.face_engine import face_engine_info
from resources.settings import Settings
from resources.shard_store import ShardStore

SHARD = "shard-00000"
TABLES = (FACE_INFO, FACE_FRAMES, FACE_CLIPS)


def survey_or_crash(task: SurveyTask) -> SurveyedClip:
    if task.clip_id == "b-crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if task.clip_id == "d-raise":
        raise RuntimeError("an engine's own fault")
    return survey_clip(task)


@pytest.fixture
def raw_clips(
    tmp_path: Path, portrait: NDArray[np.uint8], write_video: Callable[..., Path], row_of: Callable[..., dict[str, Any]]
) -> pl.DataFrame:
    face = np.asarray(Image.fromarray(portrait[:320, 64:384]).resize((160, 160)), np.uint8)
    for name in ("a-good", "b-crash", "c-good", "d-raise"):
        write_video(tmp_path / name, pictures=np.stack([face] * 4))
    rows = [
        row_of(RAW_CLIPS, clip_id=name, shard=SHARD, path=name, clip_root=str(tmp_path), duration_s=0.4, status="ok")
        for name in ("a-good", "b-crash", "c-good", "d-raise")
    ]
    missing = row_of(RAW_CLIPS, clip_id="e-missing", shard=SHARD, status="skipped", reason="file_missing")
    return RAW_CLIPS.frame([*rows, missing])


def _endings(clips: pl.DataFrame) -> dict[str, tuple[str, str | None]]:
    return {row["clip_id"]: (row["status"], row["reason"]) for row in clips.iter_rows(named=True)}


def test_asset_writes_three_tables_and_a_bad_clip_costs_only_itself(
    raw_clips: pl.DataFrame, settings: Settings, store: ShardStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "survey_clip", survey_or_crash)
    store.write_group({"raw_clips": raw_clips}, SHARD, "f")
    instance = dg.DagsterInstance.ephemeral()
    instance.add_dynamic_partitions(CLIP_SHARDS.name, [SHARD])
    config = {"ops": {"face_info": {"config": {"rate_hz": 10.0, "max_frames": 3}}}}
    resources = build_resources(settings)

    for computed in (True, False):
        result = dg.materialize([face_info], instance=instance, resources=resources, partition_key=SHARD, run_config=config)
        [event] = result.get_asset_materialization_events()
        assert event.materialization.metadata["computed"].value is computed
        assert event.materialization.metadata["engine_licence"].value

    frames = {table.name: store.read_table(table.name, SHARD) for table in TABLES}
    assert _endings(frames["face_clips"]) == {
        "a-good": ("ok", None),
        "b-crash": ("error", "crashed"),
        "c-good": ("ok", None),
        "d-raise": ("error", "engine_failed"),
        "e-missing": ("skipped", "upstream"),
    }
    details = dict(frames["face_clips"].select("clip_id", "detail").iter_rows())
    assert "exit code -11" in details["b-crash"]
    assert "an engine's own fault" in details["d-raise"]
    assert "file_missing" in details["e-missing"]
    asked = frames["face_clips"].select("clip_id", "frames_asked", "frames_decoded", "frames_with_face", "faces", "attempts")
    assert asked.row(0) == ("a-good", 3, 3, 3, 3, 1)
    assert asked.row(4) == ("e-missing", None, None, None, None, 0)
    for table in ("face_info", "face_frames"):
        assert frames[table]["clip_id"].to_list() == ["a-good"] * 3 + ["c-good"] * 3
    with resources["warehouse"].read() as connection:
        assert connection.execute("SELECT count(*) FROM face_clips").fetchall() == [(5,)]


def test_clip_that_takes_too_long_is_a_timeout(raw_clips: pl.DataFrame, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LEAST_DEADLINE_S", 0.05)
    monkeypatch.setattr(module, "DEADLINE_S_PER_FRAME", 0.0)
    found = survey_shard(raw_clips.head(1), SurveySettings(), face_engine_info("dlib"))
    assert _endings(found["face_clips"]) == {"a-good": ("timeout", "deadline")}
    assert found["face_info"].height == found["face_frames"].height == 0


def test_shard_in_which_nothing_can_be_surveyed_has_its_rows(raw_clips: pl.DataFrame) -> None:
    found = survey_shard(raw_clips.tail(1), SurveySettings(), face_engine_info("dlib"))
    for table in TABLES:
        assert table.violations(found[table.name]) == {"schema": [], "unique_key": [], "values": []}
    assert _endings(found["face_clips"]) == {"e-missing": ("skipped", "upstream")}


def test_fingerprint_is_of_engine_and_settings() -> None:
    info = face_engine_info("dlib")
    prints = {measure_fingerprint(SurveySettings(**changed), info) for changed in ({}, {"rate_hz": 2.0}, {"max_frames": 9})}
    assert len(prints) == 3
    assert measure_fingerprint(SurveySettings(engine="dlib"), info) == measure_fingerprint(SurveySettings(engine="auto"), info)
