"""Measures on held-out persons; what a clip does not allow is NULL, not an end."""

import itertools
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest

from lafid_assets.outcomes import ClipError
from lafid_assets.release.evaluation import evaluate
from lafid_assets.schemas import LAFID_DATASET, MODEL_EVALUATION, TRAINING_LATENTS
from model.encoding.face_processor import FaceError
from model.face_engine.interface import EngineInfo, Face
from model.face_engine.rotations import rotation_from_angles
from model.presets import preset

LIST = Path("clips.parquet")
CHECKPOINT = {"checkpoint_sha256": "abc", "checkpoint_path": "run", "base_path": "base"}


class Every:
    """Finds the clips' person, turned by 30 degrees, in every other picture that it is shown."""

    info = EngineInfo("stub", "1", 2, "none", "stub")

    def __init__(self) -> None:
        self.shown = itertools.count()

    def detect(self, image_rgb: np.ndarray, *, embed: bool = True) -> list[Face]:
        nothing, turned = np.zeros((0, 2), np.float32), rotation_from_angles(30, 0, 0).astype(np.float32)
        face = Face((0, 0, 8, 8), 1.0, nothing, turned, np.array([0.6, 0.8], np.float32), None)
        return [face] if next(self.shown) % 2 else []


class StubPipeline:
    """Repeats the given picture at the size asked for; a black picture shows no face."""

    manifest = SimpleNamespace(preset=preset("tiny"), base=SimpleNamespace(layout="ti2v"))
    fps = 8.0
    model = None
    engine = Every()

    def generate(self, image: Any, prompt: str, *, photos: Any, num_frames: int, height: int, width: int, **_: Any) -> np.ndarray:
        assert (image is None) == bool(photos) == (self.manifest.base.layout == "vace")
        image = image or photos[0]
        if np.asarray(image).mean() < 10:
            raise FaceError("no face found")
        return np.stack([np.asarray(image.resize((width, height)))] * num_frames)


@pytest.fixture(autouse=True)
def _stubs(monkeypatch: pytest.MonkeyPatch) -> None:
    import model.clips.clip_set
    import model.release.pipeline
    import model.training.metrics

    monkeypatch.setattr(model.release.pipeline, "load", lambda checkpoint, base, semantic_dir: StubPipeline())
    monkeypatch.setattr(model.clips.clip_set, "ClipSet", lambda clip_list, split: (clip_list.name, split))
    losses = {("clips.parquet", "test"): 2.0}
    monkeypatch.setattr(model.training.metrics, "fixed_flow_loss", lambda model, clips, *_: losses[clips])
    monkeypatch.setattr(StubPipeline, "engine", Every())


@pytest.fixture
def dataset(tmp_path: Path, write_video: Callable[..., Path], row_of: Callable[..., dict[str, Any]]) -> pl.DataFrame:
    rows = []
    for clip, split, grey in (("a", "train", 100), ("b", "test", 100), ("c", "test", 0), ("d", "validation", 0)):
        noise = np.random.default_rng(0).integers(0, 2 * grey + 1, (1, 64, 64, 1), np.uint8)
        write_video(tmp_path / clip, pictures=np.broadcast_to(noise, (10, 64, 64, 3)).copy())
        rows.append(
            row_of(LAFID_DATASET, clip_id=clip, split=split, clip_root=str(tmp_path), path=clip, identity_embedding=[1.0, 0.0])
        )
    return LAFID_DATASET.frame(rows)


@pytest.fixture
def latents(row_of: Callable[..., dict[str, Any]]) -> pl.DataFrame:
    """Of the held-out clips two of the test split are cached."""
    statuses = {"a": ("train", "ok"), "b": ("test", "ok"), "c": ("test", "ok"), "d": ("validation", "skipped")}
    return TRAINING_LATENTS.frame(
        row_of(TRAINING_LATENTS, clip_id=clip, split=split, status=status) for clip, (split, status) in statuses.items()
    )


def _measures(rows: pl.DataFrame, split: str) -> dict[str, Any]:
    assert MODEL_EVALUATION.violations(rows) == []
    return dict(rows.filter(pl.col("split") == split).select("metric", "value").iter_rows())


def test_measures_are_means_over_the_clips_that_allowed_them(
    dataset: pl.DataFrame, latents: pl.DataFrame, tmp_path: Path
) -> None:
    rows = evaluate(CHECKPOINT, dataset, latents, LIST, tmp_path)
    test = _measures(rows, "test")
    assert test.pop("first_frame_psnr_db") > 30
    assert (test["flow_loss"], test["face_found_share"]) == (2.0, 0.5)  # of eight frames, since the first is given
    assert (test["likeness"], test["likeness_yaw_20_40"]) == pytest.approx((0.3, 0.6))
    assert test["likeness_yaw_0_20"] is None
    assert set(_measures(rows, "validation")) == {"first_frame_psnr_db", *test}
    assert set(_measures(rows, "validation").values()) == {None}
    assert set(rows["split"]) == {"validation", "test"}
    assert rows["checkpoint_sha256"].unique().to_list() == ["abc"]


def test_a_base_that_cannot_begin_with_the_picture_is_given_it_as_a_photo(
    dataset: pl.DataFrame, latents: pl.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(StubPipeline, "manifest", SimpleNamespace(preset=preset("tiny"), base=SimpleNamespace(layout="vace")))
    test = _measures(evaluate(CHECKPOINT, dataset, latents, LIST, tmp_path), "test")
    assert test["first_frame_psnr_db"] is None
    assert test["face_found_share"] == pytest.approx(5 / 9)


def test_split_that_does_not_exist_has_no_rows(dataset: pl.DataFrame, latents: pl.DataFrame, tmp_path: Path) -> None:
    train_only = dataset.filter(pl.col("split") == "train")
    assert evaluate(CHECKPOINT, train_only, latents, LIST, tmp_path).height == 0


def test_clip_that_has_gone_is_named(dataset: pl.DataFrame, latents: pl.DataFrame, tmp_path: Path) -> None:
    (tmp_path / "b").unlink()
    with pytest.raises(ClipError, match="b has disappeared: put it back"):
        evaluate(CHECKPOINT, dataset, latents, LIST, tmp_path)
