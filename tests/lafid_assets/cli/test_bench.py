"""`lafid bench`: what it shows, what it leaves elsewhere, and why there may be none."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lafid_assets.schemas import FACE_INFO, LAFID_BENCH, LAFID_DATASET
from model.evaluation.bench import verify_bench
from resources.lake.lake import Lake
from resources.store.file_store import FileStore
from tests.lafid_assets.release.painted import SHARD, PaintedClip, look_at_painted_faces, paint

Lafid = Callable[..., Any]


@pytest.fixture
def lay(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    lake: Lake,
    store: FileStore,
    lay_clips: Callable[..., None],
    row_of: Callable[..., dict[str, Any]],
    write_video: Callable[..., Path],
) -> Callable[..., Path]:
    """Puts painted clips into the installation; gives their folder."""

    def make(*clips: PaintedClip) -> Path:
        look_at_painted_faces(monkeypatch)
        world = paint(clips, tmp_path / "footage", store, row_of, write_video)
        lay_clips(lake, world.raw_clips, SHARD)
        lake.put({FACE_INFO.name: world.faces}, SHARD)
        lake.put({LAFID_DATASET.name: world.dataset})
        return world.footage

    return make


def test_a_bench_is_shown_and_copied_and_a_lost_clip_is_told(
    lafid: Lafid, lay: Callable[..., Path], lake: Lake, tmp_path: Path
) -> None:
    footage = lay(*(PaintedClip(name, person) for person, name in enumerate("abc")))
    (footage / "c").unlink()
    ended = lafid("bench", "--name", "small", "--out", tmp_path / "copy")
    assert ended.code == 0, ended.err
    bench = verify_bench(tmp_path / "copy")
    assert f"small, version {bench.version}, of dataset version {'d' * 16}" in ended.out
    assert "2 cases, 2 persons, 0 strangers" in ended.out
    assert "left out c (unreadable): its file has disappeared: put it back" in ended.out
    assert all(part in ended.out for part in ("yaw_bin yaw_20_40", "yaw_0_20", "painted: CC0-1.0"))
    assert set(lake.read(LAFID_BENCH.name)["bench_version"]) == {bench.version}
    again = lafid("bench", "--out", tmp_path / "copy")
    assert f"{tmp_path}/copy is there already: name a folder that is not" in again.error


def test_a_wrong_line_of_the_settings_is_refused_by_name(lafid: Lafid, lay: Callable[..., Path], home: Path) -> None:
    lay(PaintedClip("a", 0))
    (home / "lafid.toml").write_text("[registered_model]\nbound = 1\n")
    error = lafid("bench").error
    assert "lafid.toml, [registered_model]: bound" in error
    assert "failed" not in error, "no run was begun"


def test_without_a_dataset_it_says_what_to_run(lafid: Lafid) -> None:
    assert "run `lafid curate DIR` first" in lafid("bench").error


def test_where_there_is_no_case_it_says_why(lafid: Lafid, lay: Callable[..., Path]) -> None:
    lay(PaintedClip("t", 0, split="train"))
    assert "the dataset has no test split: it takes clips of two persons at least" in lafid("bench").error
    lay(PaintedClip("a", 0, yaws=(80.0, 75.0), references=()))
    ended = lafid("bench")
    assert "left out a (pose_unknown): no frame of the clip" in ended.out
    assert "no clip of the test split gives a case" in ended.error
