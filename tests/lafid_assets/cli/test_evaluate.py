"""`lafid evaluate` with checkpoints' folders, a bench's folder and a model that draws in this process: no lake, no Dagster."""

import base64
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from lafid_assets.cli import evaluate as command
from lafid_assets.schemas import EVALUATED_FRAMES, EVALUATED_VIDEOS, MODEL_EVALUATION
from model.files import sha256_folder
from model.release.drawing_settings import DrawingSettings
from tests.model.manifests import checkpoint_without_parts

pytestmark = pytest.mark.usefixtures("quick_curves")
Lafid = Callable[..., Any]


@pytest.fixture
def checkpoints(tmp_path: Path) -> tuple[Path, Path]:
    return checkpoint_without_parts(tmp_path / "ours", seed=1), checkpoint_without_parts(tmp_path / "theirs", seed=2)


def test_two_models_side_by_side_in_a_folder(
    lafid: Lafid, home: Path, drawer: Any, bench_of: Callable[..., Any], checkpoints: tuple[Path, Path], tmp_path: Path
) -> None:
    bench_of(persons=3)
    out = tmp_path / "out"
    asked = ("evaluate", checkpoints[0], "--against", checkpoints[1], "--bench", tmp_path / "bench", "--base", tmp_path)
    ended = lafid(*asked, "--out", out)
    assert ended.code == 0, ended.err
    assert "pose_binned_similarity: +0.000 (+0.000 to +0.000), cannot be told (3 persons)" in ended.out
    assert "score_yaw_60_90: no pair, cannot be told (0 persons)" in ended.out
    assert f"page: {out / 'index.html'}; tables and videos beside it" in ended.out
    shas = [sha256_folder(checkpoint) for checkpoint in checkpoints]
    for table in (MODEL_EVALUATION, EVALUATED_VIDEOS, EVALUATED_FRAMES):
        written = pl.read_parquet(out / f"{table.name}.parquet")
        assert table.violations(written) == []
        assert set(written["checkpoint_sha256"]) == set(shas)
    page = (out / "index.html").read_text()
    videos = [out / path for path in pl.read_parquet(out / "evaluated_videos.parquet")["video_path"]]
    assert len(videos) == 6
    for video in videos:
        assert base64.b64encode(video.read_bytes()).decode() in page
    assert not home.exists() or not list(home.rglob("*.sqlite*")), "no lake was opened"

    drawer.drawn.clear()
    videos[0].unlink()
    assert lafid(*asked, "--out", out).code == 0
    assert len(drawer.drawn) == 1, "it goes on where it was interrupted"


def test_every_option_arrives(lafid: Lafid, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(command, "run_evaluate", lambda how, wish: asked.extend((how.drawing, how.base_dir, wish)))
    ended = lafid(
        *("evaluate", "models:/lafid/3", "--against", "models:/lafid@champion", "--bench", tmp_path, "--out", tmp_path),
        *("--cases", 4, "--steps", 5, "--processes", 2, "--deadline-s", 60, "--precision", "bfloat16", "--low-memory"),
        *("--device", "cpu", "--base", tmp_path, "--semantic-encoder", tmp_path),
    )
    assert ended.code == 0, ended.err
    drawing = DrawingSettings(precision="bfloat16", low_memory=True, device="cpu", semantic_dir=tmp_path)
    wish = command.Wish("models:/lafid/3", "models:/lafid@champion", tmp_path, tmp_path, 5, 4, 2, 60)
    assert asked == [drawing, tmp_path, wish]


def test_what_cannot_be_evaluated_is_told_in_a_line(
    lafid: Lafid, drawer: Any, bench_of: Callable[..., Any], checkpoints: tuple[Path, Path], tmp_path: Path
) -> None:
    ours, bench = checkpoints[0], ("--bench", tmp_path / "bench", "--base", tmp_path, "--out", tmp_path / "out")
    assert "holds no bench: bench.json is missing" in lafid("evaluate", ours, *bench).error
    bench_of(persons=1)
    assert "are the same checkpoint: name another with --against" in lafid("evaluate", ours, "--against", ours, *bench).error
    assert "is no model: name one of the registry" in lafid("evaluate", tmp_path, *bench).error
    assert "there is no registry at sqlite:" in lafid("evaluate", "models:/lafid@champion", *bench).error
    taken = lafid("evaluate", ours, *bench[:4], "--out", ours / "lafid.json").error
    assert "lafid.json is no folder: name another one with --out" in taken
    told = json.loads((tmp_path / "bench" / "bench.json").read_text())
    (tmp_path / "bench" / told["cases"][0]["first_frame"]).write_bytes(b"torn")
    assert "copy it again" in lafid("evaluate", ours, *bench).error
    assert drawer.drawn == []


def test_without_a_bench_it_is_the_stores(lafid: Lafid, lake: Any, home: Path, checkpoints: tuple[Path, Path]) -> None:
    lake.close()
    told = "there is no bench in .*store: name one with --bench, or make one with `lafid bench`"
    asked = ("evaluate", checkpoints[0], "--base", home)
    assert re.search(told, lafid(*asked).error)
    assert re.search(told, lafid(*asked, "--home", home / "new").error)
    assert not (home / "new" / "store").exists(), "asking makes none"
