"""Broken media of every kind through `raw_clips` and `face_info`: each its right status and reason, in bounded time and memory.

The engine sees nothing here: what is tested is finding, opening and decoding, in children as in earnest.
"""

import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from lafid_assets.faces import clip_analysis, shard_analysis
from lafid_assets.faces.clip_analysis import AnalysedClip, AnalysisSettings, ClipTask
from lafid_assets.faces.clip_record import Engine
from lafid_assets.faces.shard_analysis import Frames, ShardRecipe, analyse_shard
from lafid_assets.faces.shard_limits import ShardLimits
from lafid_assets.ingest.listing import LISTED
from lafid_assets.ingest.locate import require_located
from lafid_assets.ingest.raw_clips import ShardFiles
from lafid_assets.ingest.registration import register
from lafid_assets.lake import open_lake
from lafid_assets.outcomes import REASONS, Status
from lafid_assets.schemas import CLIPS, FACE_CLIPS, FACE_FRAMES, FACE_INFO
from model.face_engine.interface import Box, EngineInfo, Face, Image
from resources.lake.lake import Lake
from resources.leases.leases import Lease
from resources.settings import Settings
from resources.store.file_store import FileStore
from resources.store.ledger import Ledger

LIMITS = ShardLimits(memory_limit_mib=1000, most_deadline_s=90)
KINDS = 50


class BlindEngine:
    """A face engine that never finds a face."""

    info = EngineInfo("blind", "1", 4, "CC0", "blind")

    def detect(self, image_rgb: Image, *, embed: bool = True) -> list[Face]:
        return []

    def detect_many(self, images_rgb: Sequence[Image], *, embed: bool = True) -> list[list[Face]]:
        return [[] for _ in images_rgb]

    def glance(self, image_rgb: Image, *, side_px: int) -> list[Face]:
        return []

    def landmarks(self, image_rgb: Image, box: Box | None = None) -> Face | None:
        return None


def analyse_blindly(task: ClipTask) -> AnalysedClip:
    clip_analysis._engine = lambda choice: BlindEngine()
    return clip_analysis.analyse_clip(task)


def _probe(root: Path, paths: dict[str, str], home: Path) -> tuple[Lake, pl.DataFrame]:
    """The clips of a table that names these files of a folder, through registration and `raw_clips`' kernel."""
    same = {"clip_root": str(root), "in_table": True, "source": "zoo", "licence": "CC0", "gate": "open"}
    rows = [
        dict.fromkeys(LISTED) | same | {"released_id": clip_id, "path": path} | _state(root, path)
        for clip_id, path in paths.items()
    ]
    lake = open_lake(Settings(home=home, store_uri=str(home / "store")))
    [shard] = register(lake, pl.DataFrame(rows, LISTED)).shards
    lake.put(ShardFiles(lake, shard).open_files().bound(lake), shard)
    return lake, lake.read("raw_clips")


def _state(root: Path, path: str) -> dict[str, int]:
    try:
        state = os.stat(root / path)
    except (OSError, ValueError):
        return {}
    return {"size_bytes": state.st_size, "mtime_ns": state.st_mtime_ns}


def _analyse(lake: Lake, clips: pl.DataFrame, folder: Path, **settings: Any) -> Frames:
    recipe = ShardRecipe(AnalysisSettings(engine="dlib", **settings), LIMITS, Engine(BlindEngine.info, "asked for"))
    shard = clips["shard"][0]
    ledger = Ledger(FileStore(str(folder)), "face_info", shard, recipe.prints.measures, Lease(shard, 1))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(shard_analysis, "analyse_clip", analyse_blindly)
        return analyse_shard(clips, recipe, ledger, partial(require_located, lake, shard))


@pytest.fixture(scope="module")
def taken_in(zoo: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Lake, pl.DataFrame]:
    paths = {kind: exhibit.path for kind, exhibit in zoo.exhibits.items()}
    return _probe(zoo.root, paths, tmp_path_factory.mktemp("probed"))


@pytest.fixture(scope="module")
def probed(taken_in: tuple[Lake, pl.DataFrame]) -> pl.DataFrame:
    return taken_in[1]


@pytest.fixture(scope="module")
def surveyed(taken_in: tuple[Lake, pl.DataFrame], tmp_path_factory: pytest.TempPathFactory) -> Frames:
    return _analyse(*taken_in, tmp_path_factory.mktemp("surveyed"), scan=False)


def _endings(clips: pl.DataFrame) -> dict[str, tuple[str, str | None]]:
    return {clip_id: (status, reason) for clip_id, status, reason in clips.select("clip_id", "status", "reason").iter_rows()}


@pytest.mark.rights
def test_every_kind_ends_raw_clips_as_it_must(zoo: Any, probed: pl.DataFrame) -> None:
    assert len(zoo.exhibits) > KINDS
    assert _endings(probed) == {kind: exhibit.probed for kind, exhibit in zoo.exhibits.items()}
    assert CLIPS.violations(probed.select(list(CLIPS.dtypes))) == []
    assert probed.filter((pl.col("status") != "ok") & pl.col("detail").is_null()).is_empty()


def test_every_kind_ends_face_info_as_it_must(zoo: Any, surveyed: Frames) -> None:
    endings = _endings(surveyed["face_clips"])
    assert set(endings) == {*zoo.exhibits, *surveyed["pieces"]["clip_id"]}
    for kind, exhibit in zoo.exhibits.items():
        ending = endings[kind]
        expected = exhibit.analysed if exhibit.probed == ("ok", None) else {("skipped", "upstream")}
        assert ending in expected, (kind, ending)
    for table in (FACE_INFO, FACE_FRAMES, FACE_CLIPS):
        assert table.violations(surveyed[table.name]) == []


def test_scan_gives_every_kind_a_status_and_a_reason(taken_in: Any, probed: pl.DataFrame, tmp_path: Path) -> None:
    found = _analyse(*taken_in, tmp_path)["face_clips"]
    assert set(found["clip_id"]) == set(probed["clip_id"])
    assert FACE_CLIPS.violations(found) == []
    looked_at = found.filter(pl.col("reason") != "upstream")
    assert set(looked_at["status"]) == {"rejected", "error"}


def test_facts_of_odd_media_are_right(probed: pl.DataFrame) -> None:
    facts = {row["clip_id"]: row for row in probed.iter_rows(named=True)}
    assert (facts["odd_size"]["width"], facts["odd_size"]["height"]) == (63, 47)
    assert facts["claims_years"]["duration_s"] == pytest.approx(2), "its packets tell better"
    assert facts["one_frame"]["frame_count"] == 1
    assert facts["with_sound"]["has_audio"]
    assert not facts["video_only"]["has_audio"]


def test_what_must_be_said_of_a_kind_is_said(zoo: Any, probed: pl.DataFrame, surveyed: Frames) -> None:
    clips = {row["clip_id"]: row for row in probed.iter_rows(named=True)}
    frames = {kind: rows for (kind,), rows in surveyed["face_frames"].group_by("clip_id", maintain_order=True)}
    for kind, exhibit in zoo.exhibits.items():
        for name, value in exhibit.said.items():
            if name in CLIPS.dtypes:
                said = clips[kind][name]
            else:
                rows = frames[kind]
                said = {
                    "size_px": rows.select("width", "height").row(0),
                    "sampled": rows.height,
                    "last_s": rows["time_s"][-1],
                    "luminance": rows["luminance"][0],
                }[name]
            expected = pytest.approx(value, abs=2.0 if name == "luminance" else 0.05) if isinstance(value, int | float) else value
            assert said == expected, (kind, name)


def test_a_clock_that_begins_anew_begins_a_piece(surveyed: Frames) -> None:
    pieces = surveyed["pieces"].filter(recording_id="restart").sort("piece_index")
    assert pieces["start_s"].to_list() == pytest.approx([0.0, 1.0], abs=0.02)
    assert pieces["duration_s"].to_list() == pytest.approx([1.0, 2.0], abs=0.02)
    looked_at = surveyed["face_frames"].join(pieces, on="clip_id").group_by("piece_index").len().sort("piece_index")
    assert looked_at.rows() == [(0, 4), (1, 8)]


def test_frames_of_odd_media_are_where_they_are_shown(surveyed: Frames) -> None:
    frames = {kind: rows for (kind,), rows in surveyed["face_frames"].group_by("clip_id", maintain_order=True)}
    assert frames["late"]["time_s"][0] == frames["early"]["time_s"][0] == 0
    assert frames["late"].select(pl.col("pts") * pl.col("time_base_num") / pl.col("time_base_den")).item(0, 0) == 0.5
    assert frames["turned"].select("width", "height").row(0) == (48, 64)
    assert frames["one_frame"].height == 1
    assert frames["b_frames"]["pts"].is_sorted()
    assert frames["variable_rate"]["time_s"].round(2).to_list() == [0.0, 0.4, 0.9, 1.4]


@pytest.mark.parametrize("kind", ["flipped_bytes", "cut_in_the_middle", "cut_matroska", "zeroed_frames"])
def test_damage_invents_no_frame(kind: str, surveyed: Frames) -> None:
    """What is measured of a damaged clip lies at times at which the whole one has a frame."""
    times = dict(surveyed["face_frames"].group_by("clip_id").agg(pl.col("time_s").round(2)).rows())
    assert set(times.get(kind, [])) <= set(times["whole"])
    assert surveyed["face_info"].is_empty()


def test_random_damage_always_ends_in_a_status(
    tmp_path: Path, write_video: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Twelve clips, headers and frames damaged alike, through both steps."""
    chance = np.random.default_rng(7)
    content = write_video(tmp_path / "whole.mp4", sound_s=1.0, container_options={"movflags": "faststart"}).read_bytes()
    for number in range(12):
        damaged = bytearray(content)
        for at in chance.integers(0, len(content), 1 + number):
            damaged[at] = chance.integers(256)
        (tmp_path / f"{number}.mp4").write_bytes(damaged)
    folder = tmp_path_factory.mktemp("damaged")
    lake, probed = _probe(tmp_path, {str(number): f"{number}.mp4" for number in range(12)}, folder)
    analysed = _analyse(lake, probed, folder, scan=False)["face_clips"]
    assert set(probed["clip_id"]) <= set(analysed["clip_id"]), "and pieces, where damage looks like a cut"
    assert probed.height == 12
    assert 0 < probed.filter(status="ok").height < 12
    for status, reason in [*_endings(probed).values(), *_endings(analysed).values()]:
        assert reason is None if status == "ok" else reason in REASONS[Status(status)]
