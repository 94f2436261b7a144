"""A recording of several shots: its pieces end as the same shots do that are files of their own."""

from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from lafid_assets.constraints.decision import TOLD_MEASURES, decide_clips
from lafid_assets.constraints.policies import FacePolicy, change_policy
from lafid_assets.faces import clip_analysis, shard_analysis
from lafid_assets.faces.clip_analysis import AnalysedClip, AnalysisSettings, ClipTask
from lafid_assets.faces.clip_record import Engine
from lafid_assets.faces.shard_analysis import TABLES, Frames, ShardRecipe, analyse_shard
from lafid_assets.faces.shard_limits import ShardLimits
from lafid_assets.ingest.packets import read_index
from lafid_assets.ingest.tombstones import Tombstones, pseudonym, write_tombstones
from lafid_assets.schemas import CLIPS
from lafid_assets.shots.pieces import piece_id
from lafid_assets.workers.pool import Done, Ending
from model.encoding.footage import Footage
from resources.leases.leases import Lease
from resources.store.file_store import FileStore
from resources.store.ledger import Ledger

SHARD = "shard-00000"
SHOTS = ("turning", "still", "empty", "glimpse", "turning back")
LENGTHS = {"glimpse": 6}
POLICY = FacePolicy(sharpness_min=None)
SETTINGS = {"scan_side_px": {"drawn": 80}, "rate_hz": 5.0, "split_hard_score": 1.5}
PLACES = {"turning": lambda n: 10 + 5 * n, "still": lambda n: 60, "glimpse": lambda n: 20, "turning back": lambda n: 110 - 5 * n}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory, write_video: Callable[..., Path], draw_face: Callable[..., Any]) -> Path:
    """`recording`, all shots in one file, and a file a shot."""
    folder, shots = tmp_path_factory.mktemp("shots"), []
    for number, name in enumerate(SHOTS):
        place = PLACES.get(name)
        frames = range(LENGTHS.get(name, 20))
        pictures = np.stack([draw_face(*([("red", place(n), 20, 40)] if place else [])) for n in frames])
        pictures[:, :16, number * 30 : number * 30 + 40] = 250 - 40 * number  # another wall
        pictures[:, 64:, :: number + 2] = 30 + 50 * number
        write_video(folder / name, pictures=pictures, options={"crf": "5"})
        shots.append(pictures)
    b_frames = {"crf": "5", "preset": "medium", "bf": "2", "g": "16"}
    write_video(folder / "recording", pictures=np.concatenate(shots), options=b_frames)
    return folder


@pytest.fixture
def analyse(
    files: Path, tmp_path: Path, row_of: Callable[..., Any], drawn_engine: Any, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Frames]:
    """The kernel in this process; `ran` lists what it analysed."""

    def in_process(
        work: Callable[[ClipTask], AnalysedClip], tasks: Sequence[ClipTask], *_: object, **__: object
    ) -> Iterator[tuple[int, Ending]]:
        for index, task in enumerate(tasks):
            analyse.ran.append(task.clip_id)
            if task.clip_id in analyse.kill_at:
                raise KeyboardInterrupt
            yield index, Done(work(task))

    monkeypatch.setattr(clip_analysis, "load_face_engine", lambda choice: drawn_engine)
    monkeypatch.setattr(shard_analysis, "map_footage", in_process)
    clip_analysis._engine.cache_clear()

    def reach(ids: Collection[str]) -> dict[str, Footage]:
        return {name: files / name for name in ids}

    def analyse(*names: str, before: Frames | None = None, tombstones: Tombstones | None = None, **settings: Any) -> Frames:
        recipe = ShardRecipe(AnalysisSettings(**SETTINGS | settings), ShardLimits(), Engine(drawn_engine.info, "asked for"))
        ledger = Ledger(FileStore(str(tmp_path)), "face_info", SHARD, recipe.prints.measures, Lease(SHARD, 1), 0)
        rows = [
            row_of(
                CLIPS,
                clip_id=name,
                shard=SHARD,
                status="ok",
                content_sha256=f"content of {name}",
                duration_s=read_index(files / name).duration_s,
            )
            for name in names
        ]
        return analyse_shard(CLIPS.frame(rows), recipe, ledger, reach, before, tombstones)

    analyse.ran, analyse.kill_at = [], set()
    return analyse


def _decided(frames: Frames, policy: FacePolicy, clips: pl.DataFrame) -> pl.DataFrame:
    raw = clips.select("clip_id", "duration_s", "shots_in_file").with_columns(
        **{name: pl.lit(None, pl.Float64) for name in TOLD_MEASURES}
    )
    return decide_clips(raw, frames["face_clips"], frames["face_info"], frames["face_frames"], policy)


@pytest.mark.parametrize("searched_from_s", [0.0, 1000.0])
def test_pieces_end_as_the_same_shots_do_that_are_files(analyse: Any, searched_from_s: float) -> None:
    """Searched as a long file is, and with cuts from the survey's own decode."""
    frames = analyse("recording", *SHOTS, scan=searched_from_s == 0, searched_from_s=searched_from_s)
    for table in TABLES:
        assert table.violations(frames[table.name]) == []
    [recording] = frames["recordings"].to_dicts()
    assert (recording["pieces"], recording["hard_cuts"], recording["gradual_cuts"]) == (len(SHOTS), len(SHOTS) - 1, 0)
    pieces = frames["pieces"].sort("piece_index")
    assert pieces["frame_count"].to_list() == [LENGTHS.get(name, 20) for name in SHOTS]
    assert pieces["clip_id"].to_list() == [
        piece_id("content of recording", first, last) for first, last in pieces.select("first_pts", "last_pts").iter_rows()
    ]
    names = dict(zip(pieces["clip_id"], SHOTS, strict=True))
    assert set(frames["face_clips"]["clip_id"]) == {"recording", *names, *SHOTS}
    ended = {row["clip_id"]: row for row in frames["face_clips"].iter_rows(named=True)}
    assert (ended["recording"]["status"], ended["recording"]["reason"]) == ("skipped", "split")
    assert frames["face_frames"].filter(clip_id="recording").is_empty()
    for piece, name in names.items():
        if name == "glimpse":
            assert (ended[piece]["reason"], ended[piece]["detail"]) == ("upstream", "raw_clips: too_short")
            continue
        same = ("status", "reason", "tier", "frames_asked", "frames_decoded", "frames_with_face", "faces")
        assert {column: ended[piece][column] for column in same} == {column: ended[name][column] for column in same}
        if ended[name]["tier"] == "survey":  # the scan looks at keyframes where there are any
            place = ("frame_index", "box_x1", "box_y1")
            seen = [frames["face_info"].filter(clip_id=clip).select(place).to_numpy() for clip in (piece, name)]
            assert np.allclose(*seen, atol=0.6)
            times = [frames["face_frames"].filter(clip_id=clip)["time_s"].round(3).to_list() for clip in (piece, name)]
            assert times[0] == times[1]
    whole = pl.DataFrame({"clip_id": SHOTS, "duration_s": 2.0, "shots_in_file": None})
    clips = pl.concat([whole, pieces.select("clip_id", "duration_s", "shots_in_file")], how="vertical_relaxed")
    decided = {row["clip_id"]: row for row in _decided(frames, POLICY, clips).iter_rows(named=True)}
    for piece, name in names.items():
        if name != "glimpse":
            assert decided[piece]["reasons"] == decided[name]["reasons"]
    assert decided[pieces["clip_id"][0]]["reasons"] == []
    late = {
        row["clip_id"]: row
        for row in _decided(frames, change_policy(POLICY, {"shots_in_file_max": "1"}), clips).iter_rows(named=True)
    }
    assert (late[pieces["clip_id"][0]]["reason"], late["turning"]["keep"]) == ("cut", True)


def test_a_kill_between_two_pieces_costs_nothing_that_is_done(analyse: Any) -> None:
    whole = analyse("recording", searched_from_s=0.0)
    first, *others = (clip for clip in analyse.ran if clip != "recording")
    assert analyse.ran == ["recording", first, *others]
    analyse.ran.clear()
    analyse.kill_at = {others[1]}
    with pytest.raises(KeyboardInterrupt):
        analyse("recording", searched_from_s=0.0, audit_seed=1)
    analyse.kill_at = set()
    analyse.ran.clear()
    again = analyse("recording", searched_from_s=0.0, audit_seed=1)
    assert analyse.ran == others[1:]
    analyse.ran.clear()
    fingerprint = pl.exclude("fingerprint")
    assert all(again[table.name].select(fingerprint).equals(whole[table.name].select(fingerprint)) for table in TABLES)
    assert analyse("recording", before=again, searched_from_s=0.0, audit_seed=1)["pieces"].equals(whole["pieces"])
    assert analyse.ran == []


def test_a_forgotten_piece_stays_away_however_it_is_cut(analyse: Any, tmp_path: Path) -> None:
    pieces = analyse("recording")["pieces"].sort("piece_index")
    gone = pieces.row(1, named=True)
    store = FileStore(str(tmp_path / "store"))
    write_tombstones(store, [gone["clip_id"]], [], [("content of recording", gone["first_pts"], gone["last_pts"])])
    analyse.ran.clear()
    frames = analyse("recording", tombstones=Tombstones(store), rate_hz=4.0)
    assert gone["clip_id"] not in analyse.ran
    assert len(analyse.ran) == 1 + 3, "the recording, and its pieces but for the forgotten one and the short one"
    row = frames["pieces"].filter(clip_id=pseudonym(gone["clip_id"])).row(0, named=True)
    assert (row["status"], row["reason"], row["first_pts"]) == ("skipped", "forgotten", None)
    assert all(gone["clip_id"] not in frames[table.name]["clip_id"] for table in TABLES)
    uncut = analyse("recording", tombstones=Tombstones(store), split_hard_score=1e6, split_gradual_score=1e6)["face_clips"]
    assert uncut.select("status", "reason").rows() == [("skipped", "forgotten")]
