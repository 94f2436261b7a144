"""How often a shard tries its clips: once a run, three times until a clip is quarantined, again when what it met changes."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from lafid_assets.faces.clip_record import TRIES
from lafid_assets.faces.shard_analysis import Frames, ShardRecipe, analyse_shard, waiting_or_broken
from lafid_assets.schemas import FACE_CLIPS
from resources.lake.lake import Lake
from resources.store.ledger import Ledger
from tests.lafid_assets.faces.played import INFO, SHARD, Folder, endings, recipe, runs

pytestmark = pytest.mark.usefixtures("bookkeeping")


def _is_settled(lake: Lake, frames: Frames, of: ShardRecipe) -> bool:
    lake.put(frames, SHARD)
    return lake.sql(waiting_or_broken(of.prints, of.limits)).is_empty()


def test_failed_clip_is_tried_once_a_run_and_quarantined_after_three(
    clips: Any, ledger: Any, tmp_path: Path, reach: Folder
) -> None:
    shard, before = clips("a", "crash"), None
    told = []
    for _ in range(TRIES + 2):
        frames = analyse_shard(shard, recipe(), ledger(), reach, before)
        ledger().clear()
        told.append(endings(frames)["crash"])
        before = frames
    assert told == [("error", "crashed", 1), ("error", "crashed", 2), *[("skipped", "quarantined", 3)] * 3]
    assert runs(tmp_path) == ["a", *["crash"] * TRIES]
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
    assert endings(before)["crash"] == ("skipped", "quarantined", TRIES)
    return before


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
    assert sorted(runs(tmp_path)) == redone
    assert endings(frames)["crash"] == (("error", "crashed", 1) if redone else ("skipped", "quarantined", TRIES))


def test_quarantine_ends_when_the_file_changes(clips: Any, ledger: Any, tmp_path: Path, reach: Folder) -> None:
    before = _quarantined(clips("a", "crash"), ledger, reach)
    (tmp_path / "runs.txt").unlink()
    frames = analyse_shard(clips("a", "crash", contents={"crash": "mended"}), recipe(), ledger(), reach, before)
    assert runs(tmp_path) == ["crash"]
    assert endings(frames)["crash"] == ("error", "crashed", 1)


def test_fault_that_passes_costs_one_more_try(clips: Any, ledger: Any, tmp_path: Path, reach: Folder, lake: Lake) -> None:
    shard = clips("a", "crash-once", "torn")
    first = analyse_shard(shard, recipe(), ledger(), reach)
    ledger().clear()
    assert not _is_settled(lake, first, recipe())
    second = analyse_shard(shard, recipe(), ledger(), reach, first)
    assert endings(second) == {"a": ("ok", None, 1), "crash-once": ("ok", None, 2), "torn": ("error", "decode_failed", 1)}
    assert sorted(runs(tmp_path)) == ["a", "crash-once", "crash-once", "torn"]
    assert _is_settled(lake, second, recipe())
    assert second["face_info"]["clip_id"].unique().sort().to_list() == ["a", "crash-once"]


def test_replaced_clip_is_the_only_one_done_again(clips: Any, ledger: Any, tmp_path: Path, reach: Folder) -> None:
    first = analyse_shard(clips("a", "b"), recipe(), ledger(), reach)
    ledger().clear()
    (tmp_path / "runs.txt").unlink()
    second = analyse_shard(clips("a", "b", contents={"b": "other"}), recipe(), ledger(), reach, first)
    assert runs(tmp_path) == ["b"]
    assert second["face_clips"]["content_sha256"].to_list() == ["a", "other"]
    assert second["face_info"].height == 6


def test_ledger_that_outlived_its_tables_hides_no_further_try(clips: Any, ledger: Any, tmp_path: Path, reach: Folder) -> None:
    """Killed between writing the tables and clearing the ledger."""
    shard = clips("a", "crash")
    first = analyse_shard(shard, recipe(), ledger(), reach)
    (tmp_path / "runs.txt").unlink()
    second = analyse_shard(shard, recipe(), ledger(), reach, first)
    assert runs(tmp_path) == ["crash"]
    assert endings(second) == {"a": ("ok", None, 1), "crash": ("error", "crashed", 2)}
