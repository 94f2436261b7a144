"""Measures on held-out persons; what a clip does not allow is NULL, not an end; nothing is drawn twice."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest

from lafid_assets.outcomes import Reason, Status
from lafid_assets.release import evaluation, held_out_measures
from lafid_assets.release.evaluation import EvaluationFailed, evaluate
from lafid_assets.release.held_out_measures import Measured, VideoTask, video_path
from lafid_assets.schemas import EVALUATED_CLIPS, LAFID_DATASET, MODEL_EVALUATION
from lafid_assets.training.held_out import HeldOut
from lafid_assets.workers import Done, Failed
from model.clip_size import Bucket
from model.clips.clip_list import DataError
from model.encoding.face_processor import FaceError
from model.face_engine.interface import EngineInfo, Face
from model.face_engine.rotations import rotation_from_angles
from model.presets import preset
from model.release.drawing_settings import AS_TRAINED

SQUARE = Bucket(9, 64, 64)
CACHED = {"validation": 0, "test": 2}
ENCODED = SimpleNamespace(encoders_fingerprint="trained on")


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
    """A perfect model: begins with the given picture, of which nothing may be cut any more. A black picture shows no face."""

    fps = 8.0
    in_place = nullcontext

    def __init__(self, layout: str = "ti2v") -> None:
        self.manifest = SimpleNamespace(
            preset=preset("tiny"), base=SimpleNamespace(layout=layout), encoders_fingerprint="trained on"
        )
        self.engine = Every()
        self.drawn: list[str] = []

    def generate(self, image: Any, prompt: str, *, photos: Any, num_frames: int, height: int, width: int, **_: Any) -> np.ndarray:
        self.drawn.append(prompt)
        assert (image is None) == (self.manifest.base.layout == "vace")
        if np.asarray(photos[0]).mean() < 20:
            raise FaceError("no face found")
        if prompt == "a fault":
            raise ZeroDivisionError("a fault")
        return np.stack([np.zeros((height, width, 3), np.uint8) if image is None else np.asarray(image)] * num_frames)


@pytest.fixture
def pipeline(monkeypatch: pytest.MonkeyPatch) -> StubPipeline:
    """What draws, in this process; the flow loss is 2 wherever it is asked for."""
    import model.clips.clip_set
    import model.training.metrics

    def in_this_process(work: Callable, tasks: Sequence, *_: Any, **__: Any) -> Iterator[tuple[int, Any]]:
        for index, task in reversed(list(enumerate(tasks))):  # children end in any order
            try:
                yield index, Done(work(task))
            except ZeroDivisionError as error:
                yield index, Failed(str(error))

    stub = StubPipeline()
    monkeypatch.setattr(held_out_measures, "_pipeline", lambda _: stub)
    monkeypatch.setattr(evaluation, "map_isolated", in_this_process)
    monkeypatch.setattr(model.clips.clip_set, "ClipSet", lambda _, split: SimpleNamespace(split=split, meta=ENCODED))
    monkeypatch.setattr(model.training.metrics, "fixed_flow_loss", lambda model, clips, *_: {"test": 2.0}[clips.split])
    return stub


@pytest.fixture
def held_out(tmp_path: Path, write_video: Callable[..., Path], row_of: Callable[..., dict[str, Any]]) -> Callable[..., HeldOut]:
    """A clip of that shape and brightness, at a size of its own."""

    def make(clip: str, grey: int = 100, height: int = 64, width: int = 64, bucket: Bucket = SQUARE) -> HeldOut:
        coarse = np.random.default_rng(0).integers(0, 2 * grey + 1, (height // 8, width // 8), np.uint8)
        picture = np.kron(coarse, np.ones((8, 8), np.uint8))[None, ..., None]
        write_video(tmp_path / clip, pictures=np.broadcast_to(picture, (2, height, width, 3)).copy(), options={"crf": "4"})
        known = {"clip_root": str(tmp_path), "path": clip, "identity_embedding": [1.0, 0.0], "refined_caption": f"clip {clip}"}
        row = row_of(LAFID_DATASET, clip_id=clip, **known)
        return HeldOut(row, bucket, 0.0, (width / 2, height / 2), 30.0, "yaw_20_40", "the only one")

    return make


@pytest.fixture
def measured(tmp_path: Path) -> Measured:
    return Measured("abc", "run", "base", tmp_path, tmp_path / "clips.parquet", AS_TRAINED)


def _measures(frames: dict[str, pl.DataFrame], split: str = "test") -> dict[str, Any]:
    rows, lines = frames["model_evaluation"], frames["evaluated_clips"]
    assert MODEL_EVALUATION.violations(rows) == EVALUATED_CLIPS.violations(lines) == []
    return dict(rows.filter(pl.col("split") == split).select("metric", "value").iter_rows())


def _clips(frames: dict[str, pl.DataFrame]) -> dict[str, dict[str, Any]]:
    return {row["clip_id"]: row for row in frames["evaluated_clips"].iter_rows(named=True)}


def test_measures_are_means_over_the_clips_that_allowed_them(
    pipeline: StubPipeline, held_out: Callable[..., HeldOut], measured: Measured
) -> None:
    chosen = {"test": [held_out("b"), held_out("c", grey=0)], "validation": [held_out("d", grey=0)]}
    frames = evaluate(measured, chosen, CACHED, 9)
    test = _measures(frames)
    assert test.pop("first_frame_psnr_db") > 30
    assert (test["flow_loss"], test["face_found_share"]) == (2.0, 0.5)  # of eight frames, since the first is given
    assert (test["likeness"], test["likeness_yaw_20_40"]) == pytest.approx((0.3, 0.6))
    assert test["likeness_yaw_0_20"] is None
    assert set(_measures(frames, "validation")) == {"first_frame_psnr_db", *test}
    assert set(_measures(frames, "validation").values()) == {None}
    counted = frames["model_evaluation"].filter(pl.col("split") == "test")
    assert dict(counted.select("metric", "clips").iter_rows())["flow_loss"] == 2
    assert dict(counted.select("metric", "clips").iter_rows())["likeness"] == 1
    good, black = _clips(frames)["b"], _clips(frames)["c"]
    assert (good["status"], good["likeness"], good["why"]) == (Status.OK, pytest.approx(0.3), "the only one")
    assert (measured.store / good["video_path"]).is_file()
    assert (black["status"], black["reason"], black["video_path"]) == (Status.REJECTED, Reason.NO_FACE, None)
    assert black["detail"] == "its first frame cannot condition a video: no face found"


@pytest.mark.parametrize(("height", "width"), [(72, 128), (128, 72), (96, 96)])
@pytest.mark.parametrize("bucket", [Bucket(3, 64, 64), Bucket(3, 48, 80), Bucket(3, 80, 48)])
def test_a_perfect_model_keeps_the_first_frame_of_every_shape_of_clip(
    pipeline: StubPipeline, held_out: Callable[..., HeldOut], measured: Measured, height: int, width: int, bucket: Bucket
) -> None:
    frames = evaluate(measured, {"test": [held_out("b", height=height, width=width, bucket=bucket)]}, CACHED, 9)
    assert _measures(frames)["first_frame_psnr_db"] > 30
    assert [_clips(frames)["b"][name] for name in Bucket._fields] == list(bucket)


def test_a_base_that_cannot_begin_with_the_picture_is_given_it_as_a_photo(
    pipeline: StubPipeline, held_out: Callable[..., HeldOut], measured: Measured
) -> None:
    pipeline.manifest.base.layout = "vace"
    test = _measures(evaluate(measured, {"test": [held_out("b")]}, CACHED, 9))
    assert test["first_frame_psnr_db"] is None
    assert test["face_found_share"] == pytest.approx(5 / 9)


def test_nothing_is_drawn_twice_and_what_changed_is_drawn_anew(
    pipeline: StubPipeline, held_out: Callable[..., HeldOut], measured: Measured, caplog: pytest.LogCaptureFixture
) -> None:
    """Of three clips one is as it was, one lost its video, one says something else now; another way of drawing has its own."""
    first = [held_out("b"), held_out("c"), held_out("d")]
    before = evaluate(measured, {"test": first}, CACHED, 9)
    video_path(measured, VideoTask(first[1])).unlink()
    again = [*first[:2], first[2]._replace(clip={**first[2].clip, "refined_caption": "another"})]
    pipeline.drawn.clear()
    with caplog.at_level("INFO", logger="lafid.release"):
        after = evaluate(measured, {"test": again}, CACHED, 9)
    assert sorted(pipeline.drawn) == ["another", "clip c"]
    assert "2 of 4 tasks were done before" in caplog.text
    assert _clips(after)["b"] == _clips(before)["b"]
    pipeline.drawn.clear()
    coarse = replace(measured, drawing=AS_TRAINED.model_copy(update={"precision": "bfloat16"}))
    evaluate(coarse, {"test": first[:1]}, CACHED, 9)
    assert pipeline.drawn == ["clip b"]


def test_a_clip_that_fails_costs_itself_and_is_tried_again(
    pipeline: StubPipeline, held_out: Callable[..., HeldOut], measured: Measured
) -> None:
    good, gone, faulty = held_out("b"), held_out("c"), held_out("d")
    faulty = faulty._replace(clip={**faulty.clip, "refined_caption": "a fault"})
    (measured.store / "c").unlink()
    clips = _clips(evaluate(measured, {"test": [good, gone, faulty]}, CACHED, 9))
    assert {clip: (row["status"], row["reason"]) for clip, row in clips.items()} == {
        "b": (Status.OK, None),
        "c": (Status.ERROR, Reason.UNREADABLE),
        "d": (Status.ERROR, Reason.ENGINE_FAILED),
    }
    assert "c has disappeared: put it back" in clips["c"]["detail"]
    back = held_out("c")
    assert _clips(evaluate(measured, {"test": [good, back]}, CACHED, 9))["c"]["status"] == Status.OK
    with pytest.raises(EvaluationFailed, match="1 of 1 tasks failed, the first: a fault"):
        evaluate(measured, {"test": [faulty]}, CACHED, 9)
    pipeline.manifest.encoders_fingerprint = "another"
    with pytest.raises(DataError, match="other encoders than the checkpoint .*: run `lafid precompute --preset tiny`"):
        evaluate(replace(measured, clip_list=measured.store / "other.parquet"), {}, CACHED, 9)


def test_split_that_does_not_exist_has_no_rows(pipeline: StubPipeline, measured: Measured) -> None:
    assert {name: frame.height for name, frame in evaluate(measured, {}, {}, 9).items()} == {
        "model_evaluation": 0,
        "evaluated_clips": 0,
    }


@pytest.mark.parametrize(
    ("gpus", "visible", "asked", "device", "children"),
    [
        (0, None, None, None, [{}]),
        (0, None, 2, None, [{}, {}]),
        (2, None, None, None, [{"CUDA_VISIBLE_DEVICES": "0"}, {"CUDA_VISIBLE_DEVICES": "1"}]),
        (2, "3,GPU-a", None, None, [{"CUDA_VISIBLE_DEVICES": "3"}, {"CUDA_VISIBLE_DEVICES": "GPU-a"}]),
        (2, None, 1, None, [{"CUDA_VISIBLE_DEVICES": "0"}]),
        (2, None, None, "cuda:1", [{}]),
    ],
)
def test_each_child_has_a_gpu_of_its_own(
    measured: Measured, monkeypatch: pytest.MonkeyPatch, gpus: int, visible: Any, asked: Any, device: Any, children: list[Any]
) -> None:
    monkeypatch.setattr(evaluation, "cuda_devices", lambda: gpus)
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    given = replace(measured, drawing=AS_TRAINED.model_copy(update={"device": device}))
    assert evaluation._environments(given, asked) == [child | {"OMP_NUM_THREADS": "5"} for child in children]
