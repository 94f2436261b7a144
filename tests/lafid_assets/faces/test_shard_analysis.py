"""A shard around the analysis: faults stay where they arise, finished clips stay finished, kills leave no trace.

What one clip gives is played by functions of this module, which children import; `test_clip_analysis` looks at the real thing.
"""

import logging
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from lafid_assets.faces import shard_analysis
from lafid_assets.faces.clip_analysis import AnalysedClip, AnalysisSettings, ClipTask
from lafid_assets.faces.clip_record import TRIES, Engine, margins_row
from lafid_assets.faces.settings import ScanMargins
from lafid_assets.faces.shard_analysis import TABLES, Frames, ShardRecipe, analyse_shard, waiting_or_broken, written_before
from lafid_assets.faces.shard_limits import ShardLimits
from lafid_assets.ingest.locate import ClipsAway
from lafid_assets.outcomes import Reason, Status
from lafid_assets.schemas import CLIPS, FACE_CLIPS, FACE_FRAMES, FACE_INFO
from lafid_assets.schemas.measures import EXPRESSIONS
from lafid_assets.workers import Crashed, Done, Ending
from model.face_engine.interface import EngineInfo
from resources.file_store import FileStore
from resources.lake import Lake
from resources.leases import Lease
from resources.ledger import Ledger

ROOT = Path(__file__).resolve().parents[3]
SHARD = "shard-00000"
INFO = EngineInfo("played", "1.0", 4, "CC0", "engine")


def play(task: ClipTask) -> AnalysedClip:
    """Behaves as the clip is named, writes down that it ran, and gives rows that depend on the clip alone."""
    behaviour = task.footage.name.rstrip("0123456789")
    _note(task)
    if behaviour == "crash":
        os.kill(os.getpid(), signal.SIGKILL)
    if behaviour == "hang":
        time.sleep(600)
    if behaviour == "swell":
        held = bytearray(500 << 20)
        time.sleep(600)
        held.clear()
    if behaviour == "raise":
        raise RuntimeError("an engine's own fault")
    if behaviour == "vanish":
        task.footage.unlink()
        return AnalysedClip(Status.ERROR, Reason.DECODE_FAILED, "no such file", "survey", None, False, 3)
    if behaviour == "slow":
        time.sleep(0.15)
    if behaviour == "torn":
        return AnalysedClip(Status.ERROR, Reason.DECODE_FAILED, "cut short", "survey", None, False, 3, [_frame(task, 0, 0)], [])
    numbers = random.Random(task.clip_id)
    frames = [_frame(task, index, 1) for index in range(3)]
    faces = [_face(task, index, [numbers.random() for _ in range(4)]) for index in range(3)]
    return AnalysedClip(Status.OK, None, None, "survey", None, False, 3, frames, faces)


def without_children(
    work: Callable[[ClipTask], AnalysedClip], tasks: Sequence[ClipTask], *_: object
) -> Iterator[tuple[int, Ending[AnalysedClip]]]:
    """`map_isolated` for tests of the book-keeping, which need endings and no processes."""
    for index, task in enumerate(tasks):
        name = task.footage.name
        crashes = name == "crash" or (name == "crash-once" and "crash-once" not in _runs(task.footage.parent))
        if crashes:
            _note(task)
        yield index, Crashed(-9) if crashes else Done(work(task))


@pytest.fixture
def bookkeeping(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shard_analysis, "map_isolated", without_children)


def _note(task: ClipTask) -> None:
    with (task.footage.parent / "runs.txt").open("a") as log:
        log.write(f"{task.footage.name}\n")


def _runs(root: Path) -> list[str]:
    log = root / "runs.txt"
    return log.read_text().split() if log.exists() else []


def _place(task: ClipTask, index: int) -> dict[str, Any]:
    times = {"frame_index": index, "pts": index, "time_base_num": 1, "time_base_den": 10}
    return times | {"clip_id": task.clip_id, "shard": task.shard, "tier": "survey"}


def _frame(task: ClipTask, index: int, faces: int) -> dict[str, Any]:
    seen = {"time_s": index / 10, "width": 64, "height": 48, "face_count": faces, "luminance": 100.0}
    return _place(task, index) | seen


def _face(task: ClipTask, index: int, embedding: Sequence[float]) -> dict[str, Any]:
    angles = ("yaw_deg", "pitch_deg", "roll_deg", "coarse_yaw_deg")
    nothing = dict.fromkeys(("head_height_px", "rotation", *angles, "sharpness", *EXPRESSIONS))
    box = {"box_x1": 1.0, "box_y1": 2.0, "box_x2": 3.0, "box_y2": 4.0, "score": 0.5, "frame_share": 0.1}
    return _place(task, index) | nothing | box | {"face_index": 0, "track_id": 0, "landmarks_px": [1.0], "embedding": embedding}


def recipe(limits: dict[str, Any] | None = None, info: EngineInfo = INFO, **settings: Any) -> ShardRecipe:
    limits = {"memory_limit_mib": 400, "least_deadline_s": 30.0} | (limits or {})
    return ShardRecipe(AnalysisSettings(**settings), ShardLimits(**limits), Engine(info, "asked for"))


@pytest.fixture(autouse=True)
def _played(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shard_analysis, "analyse_clip", play)


@pytest.fixture
def clips(tmp_path: Path, row_of: Callable[..., dict[str, Any]]) -> Callable[..., pl.DataFrame]:
    """Rows of `clips` for clips that behave as they are named, and their files; the content hash is the name unless told
    otherwise."""

    def rows(*names: str, skipped: Sequence[str] = (), contents: dict[str, str] | None = None) -> pl.DataFrame:
        passed = [(name, {"status": "ok", "content_sha256": (contents or {}).get(name, name)}) for name in names]
        missing = [(name, {"status": "skipped", "reason": "file_missing"}) for name in skipped]
        for name in names:
            (tmp_path / name).touch()
        return CLIPS.frame(
            row_of(CLIPS, clip_id=name, shard=SHARD, duration_s=0.5, **outcome) for name, outcome in passed + missing
        )

    return rows


@pytest.fixture
def ledger(tmp_path: Path) -> Callable[..., Ledger]:
    return lambda of=None, store="store": ledger_in(tmp_path / store, of or recipe())


def ledger_in(folder: Path, of: ShardRecipe, seconds_per_part: float = 0) -> Ledger:
    return Ledger(FileStore(str(folder)), "face_info", SHARD, of.prints.measures, Lease(SHARD, 1), seconds_per_part)


class Folder:
    """The files of a shard's clips, in one folder; writes down which were asked for."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.asked: list[list[str]] = []

    def __call__(self, clip_ids: Collection[str]) -> dict[str, Path]:
        self.asked.append(sorted(clip_ids))
        paths = {clip_id: self.root / clip_id for clip_id in clip_ids}
        if away := [clip_id for clip_id, path in paths.items() if not path.exists()]:
            raise ClipsAway(f"away: {', '.join(away)}")
        return paths


@pytest.fixture
def reach(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def _endings(frames: Frames) -> dict[str, tuple[str, str | None, int]]:
    columns = ("clip_id", "status", "reason", "attempts")
    return {name: tuple(rest) for name, *rest in frames["face_clips"].select(columns).iter_rows()}


def _is_settled(lake: Lake, frames: Frames, of: ShardRecipe) -> bool:
    lake.put(frames, SHARD)
    return lake.sql(waiting_or_broken(of.prints, of.limits)).is_empty()


def _same(one: Frames, other: Frames) -> bool:
    return all(one[table.name].equals(other[table.name]) for table in TABLES)


def test_every_bad_clip_costs_exactly_its_own_row(
    clips: Any, ledger: Any, caplog: pytest.LogCaptureFixture, reach: Folder
) -> None:
    """SIGKILL, memory limit, exception and deadline; the neighbours before, between and after keep their results."""
    shard = clips("a1", "crash", "fine2", "hang", "raise", "swell", "torn", "z3", skipped=["gone"])
    quick = recipe()
    quick = replace(quick, limits=_Hasty(**quick.limits.model_dump()))
    with caplog.at_level(logging.WARNING, "lafid.faces"):
        frames = analyse_shard(shard, quick, ledger(quick), reach)
    assert _endings(frames) == {
        "a1": ("ok", None, 1),
        "crash": ("error", "crashed", 1),
        "fine2": ("ok", None, 1),
        "gone": ("skipped", "upstream", 0),
        "hang": ("timeout", "deadline", 1),
        "raise": ("error", "engine_failed", 1),
        "swell": ("error", "memory_limit", 1),
        "torn": ("error", "decode_failed", 1),
        "z3": ("ok", None, 1),
    }
    for table in TABLES:
        assert table.violations(frames[table.name]) == []
    assert frames["face_info"]["clip_id"].unique().sort().to_list() == ["a1", "fine2", "z3"]
    assert frames["face_frames"].filter(clip_id="torn").height == 1
    details = dict(frames["face_clips"].select("clip_id", "detail").rows())
    assert "exit code -9" in details["crash"]
    assert "400 MiB" in details["swell"]
    assert "an engine's own fault" in details["raise"]
    assert details["gone"] == "raw_clips: file_missing"
    lines = [record.message for record in caplog.records if record.levelno == logging.WARNING]
    assert len(lines) == 5
    assert any(line.startswith("face_info: crash (") and "/crash): crashed, " in line for line in lines)


class _Hasty(ShardLimits):
    def deadline_s(self, duration_s: float | None) -> float:
        return 8.0


def test_order_and_worker_count_change_nothing(clips: Any, ledger: Any, reach: Folder) -> None:
    names = [f"a{number}" for number in range(9)] + ["crash", "torn"]
    found = []
    for workers, seed in ((1, 0), (2, 1), (3, 2)):
        given = recipe({"workers": workers})
        shuffled = clips(*names, skipped=["gone"]).sample(fraction=1.0, shuffle=True, seed=seed)
        found.append(analyse_shard(shuffled, given, ledger(given, str(workers)), reach))
    assert found[0]["face_info"].height == 27
    assert _same(found[0], found[1])
    assert _same(found[0], found[2])


@pytest.mark.usefixtures("bookkeeping")
def test_failed_clip_is_tried_once_a_run_and_quarantined_after_three(
    clips: Any, ledger: Any, tmp_path: Path, reach: Folder
) -> None:
    shard, before = clips("a", "crash"), None
    endings = []
    for _ in range(TRIES + 2):
        frames = analyse_shard(shard, recipe(), ledger(), reach, before)
        ledger().clear()
        endings.append(_endings(frames)["crash"])
        before = frames
    assert endings == [("error", "crashed", 1), ("error", "crashed", 2), *[("skipped", "quarantined", 3)] * 3]
    assert _runs(tmp_path) == ["a", *["crash"] * TRIES]
    detail = frames["face_clips"].filter(clip_id="crash")["detail"].item()
    assert "failed 3 times, the last time as crashed: the child process died with exit code -9" in detail
    assert "tried again when its file, the engine, the settings or the limits change" in detail
    assert FACE_CLIPS.violations(frames["face_clips"]) == []


def _quarantined(shard: pl.DataFrame, ledger: Callable[..., Ledger], reach: Folder) -> Frames:
    before = None
    for _ in range(TRIES):
        before = analyse_shard(shard, recipe(), ledger(), reach, before)
        ledger().clear()
    assert before is not None
    assert _endings(before)["crash"] == ("skipped", "quarantined", TRIES)
    return before


@pytest.mark.usefixtures("bookkeeping")
@pytest.mark.parametrize(
    ("changed", "redone"),
    [
        ({"rate_hz": 2.0}, ["a", "crash"]),
        ({"info": replace(INFO, fingerprint="other weights")}, ["a", "crash"]),
        ({"limits": {"memory_limit_mib": 500}}, ["crash"]),
        ({"limits": {"workers": 1, "error_budget": 0.5}}, []),
        ({"engine": "dlib"}, []),
    ],
)
def test_quarantine_ends_when_what_the_clip_met_changes(
    changed: dict[str, Any], redone: list[str], clips: Any, ledger: Any, tmp_path: Path, reach: Folder, lake: Lake
) -> None:
    before = _quarantined(clips("a", "crash"), ledger, reach)
    (tmp_path / "runs.txt").unlink()
    given = recipe(**changed)
    assert _is_settled(lake, before, given) == (redone == [])
    frames = analyse_shard(clips("a", "crash"), given, ledger(given), reach, before)
    assert sorted(_runs(tmp_path)) == redone
    assert _endings(frames)["crash"] == (("error", "crashed", 1) if redone else ("skipped", "quarantined", TRIES))


@pytest.mark.usefixtures("bookkeeping")
def test_quarantine_ends_when_the_file_changes(clips: Any, ledger: Any, tmp_path: Path, reach: Folder) -> None:
    before = _quarantined(clips("a", "crash"), ledger, reach)
    (tmp_path / "runs.txt").unlink()
    frames = analyse_shard(clips("a", "crash", contents={"crash": "mended"}), recipe(), ledger(), reach, before)
    assert _runs(tmp_path) == ["crash"]
    assert _endings(frames)["crash"] == ("error", "crashed", 1)


@pytest.mark.usefixtures("bookkeeping")
def test_fault_that_passes_costs_one_more_try(clips: Any, ledger: Any, tmp_path: Path, reach: Folder, lake: Lake) -> None:
    shard = clips("a", "crash-once", "torn")
    first = analyse_shard(shard, recipe(), ledger(), reach)
    ledger().clear()
    assert not _is_settled(lake, first, recipe())
    second = analyse_shard(shard, recipe(), ledger(), reach, first)
    assert _endings(second) == {"a": ("ok", None, 1), "crash-once": ("ok", None, 2), "torn": ("error", "decode_failed", 1)}
    assert sorted(_runs(tmp_path)) == ["a", "crash-once", "crash-once", "torn"]
    assert _is_settled(lake, second, recipe())
    assert second["face_info"]["clip_id"].unique().sort().to_list() == ["a", "crash-once"]


@pytest.mark.usefixtures("bookkeeping")
def test_replaced_clip_is_the_only_one_done_again(clips: Any, ledger: Any, tmp_path: Path, reach: Folder) -> None:
    first = analyse_shard(clips("a", "b"), recipe(), ledger(), reach)
    ledger().clear()
    (tmp_path / "runs.txt").unlink()
    second = analyse_shard(clips("a", "b", contents={"b": "other"}), recipe(), ledger(), reach, first)
    assert _runs(tmp_path) == ["b"]
    assert second["face_clips"]["content_sha256"].to_list() == ["a", "other"]
    assert second["face_info"].height == 6


@pytest.mark.usefixtures("bookkeeping")
def test_ledger_that_outlived_its_tables_hides_no_further_try(clips: Any, ledger: Any, tmp_path: Path, reach: Folder) -> None:
    """Killed between writing the tables and clearing the ledger."""
    shard = clips("a", "crash")
    first = analyse_shard(shard, recipe(), ledger(), reach)
    (tmp_path / "runs.txt").unlink()
    second = analyse_shard(shard, recipe(), ledger(), reach, first)
    assert _runs(tmp_path) == ["crash"]
    assert _endings(second) == {"a": ("ok", None, 1), "crash": ("error", "crashed", 2)}


@pytest.mark.usefixtures("bookkeeping")
def test_the_engine_is_named_as_it_was_asked_for_now(clips: Any, ledger: Any, reach: Folder) -> None:
    first = analyse_shard(clips("a", skipped=["gone"]), recipe(), ledger(), reach)
    asked_otherwise = replace(recipe(), engine=Engine(INFO, "the only one present"))
    second = analyse_shard(clips("a", skipped=["gone"]), asked_otherwise, ledger(), reach, first)
    for table in (FACE_INFO, FACE_FRAMES, FACE_CLIPS):
        assert first[table.name]["engine_reason"].unique().to_list() == ["asked for"]
        assert second[table.name]["engine_reason"].unique().to_list() == ["the only one present"]
        assert second[table.name]["engine"].unique().to_list() == ["played"]


@pytest.mark.usefixtures("bookkeeping")
def test_scan_margins_stand_in_every_row_of_a_scanned_shard(clips: Any, ledger: Any, tmp_path: Path, reach: Folder) -> None:
    off = recipe(scan=False)
    margins = analyse_shard(clips("a", skipped=["gone"]), recipe(), ledger(), reach)["face_clips"]["scan_margins_sha256"]
    [row] = margins_row(recipe().settings)[1].to_dicts()
    assert margins.to_list() == [row["policy_sha256"]] * 2
    assert ScanMargins.model_validate_json(row["settings"]) == recipe().settings.scan_margins
    assert analyse_shard(clips("a"), off, ledger(off), reach)["face_clips"]["scan_margins_sha256"].to_list() == [None]
    assert margins_row(off.settings)[1].is_empty()


@pytest.mark.usefixtures("bookkeeping")
def test_shard_without_a_clip_to_analyse_has_its_rows(clips: Any, ledger: Any, tmp_path: Path, reach: Folder) -> None:
    frames = analyse_shard(clips(skipped=["gone"]), recipe(), ledger(), reach)
    assert _endings(frames) == {"gone": ("skipped", "upstream", 0)}
    assert frames["face_info"].height == frames["face_frames"].height == 0
    assert _runs(tmp_path) == []


@pytest.mark.usefixtures("bookkeeping")
def test_what_was_written_is_what_was_before(clips: Any, ledger: Any, reach: Folder, lake: Lake) -> None:
    with lake.snapshot() as reader:
        assert written_before(reader, SHARD) is None
    frames = analyse_shard(clips("a", "b"), recipe(), ledger(), reach)
    lake.put(frames, SHARD)
    with lake.snapshot() as reader:
        found = written_before(reader, SHARD)
    assert found is not None
    assert _same(found, frames)


@pytest.mark.usefixtures("bookkeeping")
def test_measured_clips_keep_their_rows_while_their_file_is_away(clips: Any, ledger: Any, reach: Folder, tmp_path: Path) -> None:
    first = analyse_shard(clips("a", "b", "torn"), recipe(), ledger(), reach)
    shard = clips("a", "b", "c", "torn")
    for name in ("a", "b", "torn"):
        (tmp_path / name).unlink()
    reach.asked.clear()
    second = analyse_shard(shard, recipe(), ledger(), reach, first)
    assert reach.asked == [["c"]]
    assert _same({name: frame.filter(pl.col("clip_id") != "c") for name, frame in second.items()}, first)
    assert _endings(second)["c"] == ("ok", None, 1)


@pytest.mark.usefixtures("bookkeeping")
def test_nothing_is_opened_while_a_file_is_away_that_is_needed(clips: Any, ledger: Any, reach: Folder, tmp_path: Path) -> None:
    shard = clips("a", "b")
    (tmp_path / "b").unlink()
    with pytest.raises(ClipsAway, match="away: b"):
        analyse_shard(shard, recipe(), ledger(), reach)
    assert _runs(tmp_path) == []


@pytest.mark.usefixtures("bookkeeping")
def test_a_file_that_goes_away_meanwhile_is_no_fault_of_its_clip(clips: Any, ledger: Any, reach: Folder, tmp_path: Path) -> None:
    """The clips that were measured lie in the ledger, and the clip has no try behind it."""
    with pytest.raises(ClipsAway, match="away: vanish"):
        analyse_shard(clips("a", "vanish", "z"), recipe(), ledger(), reach)
    assert sorted(clip for part in ledger().read() for clip in part["face_clips"]["clip_id"]) == ["a", "z"]
    again = analyse_shard(clips("a", "torn", "vanish", "z"), recipe(), ledger(), _Elsewhere(tmp_path))
    assert _endings(again)["vanish"] == ("ok", None, 1)
    assert _runs(tmp_path).count("a") == 1


class _Elsewhere(Folder):
    """Another copy of `vanish` is found, which stays."""

    def __call__(self, clip_ids: Collection[str]) -> dict[str, Path]:
        (self.root / "copy").touch()
        return super().__call__([clip_id for clip_id in clip_ids if clip_id != "vanish"]) | {"vanish": self.root / "copy"}


RUN = """
import sys
from pathlib import Path
import polars as pl
from lafid_assets.faces import shard_analysis
from tests.lafid_assets.faces.test_shard_analysis import Folder, ledger_in, play, recipe
if __name__ == "__main__":
    shard_analysis.analyse_clip = play
    folder = Path(sys.argv[1])
    given = recipe({"workers": 2})
    ledger = ledger_in(folder / "store", given, float(sys.argv[2]))
    frames = shard_analysis.analyse_shard(pl.read_parquet(folder / "clips.parquet"), given, ledger, Folder(folder))
    for name, frame in frames.items():
        frame.write_parquet(folder / f"{name}.parquet")
"""


@pytest.mark.parametrize("seed", [0, 1])
def test_run_killed_at_random_points_ends_like_an_undisturbed_one(
    seed: int, clips: Any, ledger: Any, tmp_path: Path, reach: Folder
) -> None:
    """SIGKILL to the whole run, twice, after a random number of clips and a random moment more."""
    names = [f"slow{number}" for number in range(6)] + ["crash", "raise", "torn"]
    shard = clips(*names, skipped=["gone"])
    undisturbed = analyse_shard(shard, recipe(), ledger(), reach)
    ledger().clear()
    (tmp_path / "runs.txt").unlink()
    shard.write_parquet(tmp_path / "clips.parquet")
    (tmp_path / "run.py").write_text(RUN)
    chance = random.Random(seed)
    seconds_per_part = chance.choice([0.0, 0.4])
    for _ in range(2):
        _run_and_kill(tmp_path, seconds_per_part, len(_runs(tmp_path)) + chance.randint(1, 3), chance.random() * 0.2)
    done = {clip_id for part in ledger().read() for clip_id in part["face_clips"]["clip_id"]}
    before = _runs(tmp_path)
    with _start(tmp_path, seconds_per_part) as last:
        assert last.wait(timeout=120) == 0
    assert _same({table.name: pl.read_parquet(tmp_path / f"{table.name}.parquet") for table in TABLES}, undisturbed)
    assert done.isdisjoint(_runs(tmp_path)[len(before) :])
    assert set(_runs(tmp_path)) == set(names)


def _run_and_kill(folder: Path, seconds_per_part: float, after_runs: int, moment_s: float) -> None:
    with _start(folder, seconds_per_part) as run:
        while run.poll() is None and len(_runs(folder)) < after_runs:
            time.sleep(0.01)
        time.sleep(moment_s)
        run.kill()


def _start(folder: Path, seconds_per_part: float) -> subprocess.Popen[bytes]:
    command = [sys.executable, str(folder / "run.py"), str(folder), str(seconds_per_part)]
    return subprocess.Popen(command, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, stderr=subprocess.DEVNULL)


@pytest.mark.usefixtures("bookkeeping")
@pytest.mark.parametrize(("asked", "gpus", "given"), [(None, 2, (2, 2)), (5, 2, (5, 2)), (None, 0, (None, 0))])
def test_a_gpu_has_one_child_that_feeds_it(
    asked: int | None,
    gpus: int,
    given: tuple[int | None, int],
    clips: Any,
    ledger: Any,
    monkeypatch: pytest.MonkeyPatch,
    reach: Folder,
) -> None:
    seen: list[Any] = []

    def note(work: Any, tasks: Sequence[ClipTask], deadline: Any, workers: int | None, limits: Any, feeders: list[Any]) -> Any:
        seen.append((workers, len(feeders)))
        return without_children(work, tasks)

    monkeypatch.setattr(shard_analysis, "map_isolated", note)
    monkeypatch.setattr(shard_analysis, "gpu_feeders", lambda choice: [{}] * gpus)
    of = recipe({"workers": asked})
    analyse_shard(clips("a"), of, ledger(of), reach)
    assert seen == [given]
