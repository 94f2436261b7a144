"""A shard around the analysis: faults stay where they arise, finished clips stay finished, kills leave no trace.

What one clip gives is played (`played.py`, which children import); `test_clip_analysis` looks at the real thing.
"""

import logging
import os
import random
import subprocess
import sys
import time
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from lafid_assets.faces import shard_analysis
from lafid_assets.faces.clip_analysis import ClipTask
from lafid_assets.faces.clip_record import Engine, margins_row
from lafid_assets.faces.settings import ScanMargins
from lafid_assets.faces.shard_analysis import TABLES, analyse_shard, written_before
from lafid_assets.faces.shard_limits import ShardLimits
from lafid_assets.ingest.locate import ClipsAway
from lafid_assets.schemas import FACE_CLIPS, FACE_FRAMES, FACE_INFO
from lafid_assets.workers.pool import Children
from resources.lake.lake import Lake
from tests.lafid_assets.faces.played import INFO, SHARD, Folder, endings, recipe, runs, same, without_children

ROOT = Path(__file__).resolve().parents[3]
pytestmark = pytest.mark.usefixtures("played")


def test_every_bad_clip_costs_exactly_its_own_row(
    clips: Any, ledger: Any, caplog: pytest.LogCaptureFixture, reach: Folder
) -> None:
    """SIGKILL, memory limit, exception and deadline; the neighbours before, between and after keep their results."""
    shard = clips("a1", "crash", "fine2", "hang", "raise", "swell", "torn", "z3", skipped=["gone"])
    quick = recipe()
    quick = replace(quick, limits=_Hasty(**quick.limits.model_dump()))
    with caplog.at_level(logging.WARNING, "lafid.faces"):
        frames = analyse_shard(shard, quick, ledger(quick), reach)
    assert endings(frames) == {
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


@pytest.mark.long
def test_order_and_worker_count_change_nothing(clips: Any, ledger: Any, reach: Folder) -> None:
    names = [f"a{number}" for number in range(9)] + ["crash", "torn"]
    found = []
    for workers, seed in ((1, 0), (2, 1), (3, 2)):
        given = recipe({"workers": workers})
        shuffled = clips(*names, skipped=["gone"]).sample(fraction=1.0, shuffle=True, seed=seed)
        found.append(analyse_shard(shuffled, given, ledger(given, str(workers)), reach))
    assert found[0]["face_info"].height == 27
    assert same(found[0], found[1])
    assert same(found[0], found[2])


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
    assert endings(frames) == {"gone": ("skipped", "upstream", 0)}
    assert frames["face_info"].height == frames["face_frames"].height == 0
    assert runs(tmp_path) == []


@pytest.mark.usefixtures("bookkeeping")
def test_what_was_written_is_what_was_before(clips: Any, ledger: Any, reach: Folder, lake: Lake) -> None:
    with lake.snapshot() as reader:
        assert written_before(reader, SHARD) is None
    frames = analyse_shard(clips("a", "b"), recipe(), ledger(), reach)
    lake.put(frames, SHARD)
    with lake.snapshot() as reader:
        found = written_before(reader, SHARD)
    assert found is not None
    assert same(found, frames)


@pytest.mark.usefixtures("bookkeeping")
def test_measured_clips_keep_their_rows_while_their_file_is_away(clips: Any, ledger: Any, reach: Folder, tmp_path: Path) -> None:
    first = analyse_shard(clips("a", "b", "torn"), recipe(), ledger(), reach)
    shard = clips("a", "b", "c", "torn")
    for name in ("a", "b", "torn"):
        (tmp_path / name).unlink()
    reach.asked.clear()
    second = analyse_shard(shard, recipe(), ledger(), reach, first)
    assert reach.asked == [["c"]]
    assert same({name: frame.filter(pl.col("clip_id") != "c") for name, frame in second.items()}, first)
    assert endings(second)["c"] == ("ok", None, 1)


@pytest.mark.usefixtures("bookkeeping")
def test_nothing_is_opened_while_a_file_is_away_that_is_needed(clips: Any, ledger: Any, reach: Folder, tmp_path: Path) -> None:
    shard = clips("a", "b")
    (tmp_path / "b").unlink()
    with pytest.raises(ClipsAway, match="away: b"):
        analyse_shard(shard, recipe(), ledger(), reach)
    assert runs(tmp_path) == []


@pytest.mark.usefixtures("bookkeeping")
def test_a_file_that_goes_away_meanwhile_is_no_fault_of_its_clip(clips: Any, ledger: Any, reach: Folder, tmp_path: Path) -> None:
    """The clips that were measured lie in the ledger, and the clip has no try behind it."""
    with pytest.raises(ClipsAway, match="away: vanish"):
        analyse_shard(clips("a", "vanish", "z"), recipe(), ledger(), reach)
    assert sorted(clip for part in ledger().read() for clip in part["face_clips"]["clip_id"]) == ["a", "z"]
    again = analyse_shard(clips("a", "torn", "vanish", "z"), recipe(), ledger(), _Elsewhere(tmp_path))
    assert endings(again)["vanish"] == ("ok", None, 1)
    assert runs(tmp_path).count("a") == 1


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
from tests.lafid_assets.faces.played import Folder, ledger_in, play, recipe
if __name__ == "__main__":
    shard_analysis.analyse_clip = play
    folder = Path(sys.argv[1])
    given = recipe({"workers": 2})
    ledger = ledger_in(folder / "store", given, float(sys.argv[2]))
    frames = shard_analysis.analyse_shard(pl.read_parquet(folder / "clips.parquet"), given, ledger, Folder(folder))
    for name, frame in frames.items():
        frame.write_parquet(folder / f"{name}.parquet")
"""


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.long)])
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
        _run_and_kill(tmp_path, seconds_per_part, len(runs(tmp_path)) + chance.randint(1, 3), chance.random() * 0.2)
    done = {clip_id for part in ledger().read() for clip_id in part["face_clips"]["clip_id"]}
    before = runs(tmp_path)
    with _start(tmp_path, seconds_per_part) as last:
        assert last.wait(timeout=900) == 0
    assert same({table.name: pl.read_parquet(tmp_path / f"{table.name}.parquet") for table in TABLES}, undisturbed)
    assert done.isdisjoint(runs(tmp_path)[len(before) :])
    assert set(runs(tmp_path)) == set(names)


def _run_and_kill(folder: Path, seconds_per_part: float, after_runs: int, moment_s: float) -> None:
    with _start(folder, seconds_per_part) as run:
        while run.poll() is None and len(runs(folder)) < after_runs:
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

    def note(work: Any, tasks: Sequence[ClipTask], deadline: Any, children: Children, **_: Any) -> Any:
        seen.append((children.count, len(children.environments)))
        return without_children(work, tasks)

    monkeypatch.setattr(shard_analysis, "map_footage", note)
    monkeypatch.setattr(shard_analysis, "gpu_feeders", lambda choice: [{}] * gpus)
    of = recipe({"workers": asked})
    analyse_shard(clips("a"), of, ledger(of), reach)
    assert seen == [given]
