"""What the trainer makes of a judged model: videos, likeness, LoggedModels by the keep rule; none of it ends a training."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError

import model.clips.clip_set
import model.release.pipeline
import model.training.held_out_videos
from model.bases.base import load_base
from model.bases.build import build_tiny_base
from model.clip_size import Bucket
from model.encoding.face_features import FaceFeatures
from model.encoding.face_processor import FaceError
from model.face_branch.trainable import FusedModel, assemble
from model.face_engine.interface import EngineInfo, Face
from model.files import sha256_folder
from model.likeness import Likeness, MeasuredFace, MeasuredVideo, likeness_of
from model.presets import Preset, preset
from model.release.checkpoint import EmbeddingSource, Manifest, write_checkpoint
from model.release.drawing_settings import DrawingSettings
from model.training.checkpoint_retention import AVERAGED_CHECKPOINTS, CHECKPOINTS, name_of_step
from model.training.validation import DrawingStopped
from resources.tracking import CHECKPOINT_TAG, Tracking
from resources.trainer.job import HeldOutClip, TrainingJob
from resources.trainer.mlflow_run import MlflowRun
from resources.trainer.validation import VIDEOS, Validation, judgement_line
from tests.model.manifests import a_manifest

ORIGIN = {"lafid.dataset_version": "v1", "lafid.policy": "cofe", "lafid.git_commit": "abc", "lafid.base_revision": "r1"}


def _preset(**train: Any) -> Preset:
    tiny = preset("tiny")
    return tiny.model_copy(update={"train": tiny.train.model_copy(update={"validate_every": 1, "steps": 9, **train})})


@pytest.fixture(scope="module")
def tracking(tmp_path_factory: pytest.TempPathFactory) -> Tracking:
    folder = tmp_path_factory.mktemp("mlflow")
    return Tracking(f"sqlite:///{folder}/mlflow.db", folder / "artifacts")


@pytest.fixture(scope="module")
def base_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base") / "tiny"
    build_tiny_base(folder)
    return folder


@pytest.fixture(scope="module")
def checkpoint(base_dir: Path) -> Callable[[Path, int], Path]:
    """Writes a checkpoint of an untrained adapter as that of a step."""
    chosen = _preset(trainable="adapter")
    features = FaceFeatures(torch.zeros(1, 128), torch.zeros(1, 65, 64), torch.zeros(1, 256, 48))
    fused = assemble(load_base(base_dir, "cpu"), features, chosen.fusion, chosen.train)

    def write(folder: Path, step: int, averaged: bool = False) -> Path:
        target = folder / (AVERAGED_CHECKPOINTS if averaged else CHECKPOINTS) / name_of_step(step)
        write_checkpoint(target, fused, _manifest(fused, chosen, step).model_copy(update={"averaged": averaged}))
        return target

    return write


def _manifest(fused: FusedModel, chosen: Preset, step: int) -> Manifest:
    return a_manifest(
        chosen,
        fused.base.info,
        face_engine=EmbeddingSource(name="stub", version="1", width=128),
        step=step,
        validation_loss=1.5,
        validated_on="validation",
        judged_by="loss",
    ).after_drawing(_likeness())


def _likeness(cosine: float = 0.5) -> Likeness:
    """Of a frontal face and a frame without one."""
    return likeness_of([MeasuredVideo((MeasuredFace(cosine, 3.0, None), None), "s")])


@pytest.fixture
def run(tracking: Tracking, tmp_path: Path) -> MlflowRun:
    return MlflowRun(tracking, tmp_path.name, _preset(), ORIGIN)


def _logged(tracking: Tracking, run: MlflowRun) -> dict[tuple[int, bool], Any]:
    client = tracking.connect()
    return {one: client.get_logged_model(id_) for id_, one in tracking.logged_checkpoints(run.run_id).items() if one is not None}


def test_every_kept_checkpoint_is_one_logged_model_of_the_trainings_run(
    tracking: Tracking, run: MlflowRun, checkpoint: Callable[[Path, int], Path], base_dir: Path, tmp_path: Path
) -> None:
    """Kept, seen again, removed by the rule, registered by somebody, torn by a kill; one store, for making one takes seconds."""
    import mlflow

    client = tracking.connect()
    first, second, third = (checkpoint(tmp_path, step) for step in (1, 2, 3))
    averaged = checkpoint(tmp_path, 2, averaged=True)
    run.keep_models([first, second, averaged], base_dir)
    logged = _logged(tracking, run)
    assert sorted(logged) == [(1, False), (2, False), (2, True)]
    model_of_first = logged[1, False]
    assert model_of_first.source_run_id == run.run_id
    assert model_of_first.tags.items() >= {**ORIGIN, CHECKPOINT_TAG: sha256_folder(first), "seed": "0"}.items()
    told = {metric.key: metric.value for metric in model_of_first.metrics}
    assert told.items() >= {"validation_loss": 1.5, "likeness": 0.25, "face_found_share": 0.5, "likeness_yaw_0_20": 0.5}.items()
    assert "likeness_yaw_20_40" not in told, "no drawn face was turned so far"
    assert {metric.step for metric in model_of_first.metrics} == {1}
    assert tracking.find_logged_model(sha256_folder(first)) == model_of_first.model_id
    assert tracking.find_logged_model(sha256_folder(averaged)) == logged[2, True].model_id
    assert client.get_run(run.run_id).info.status == "RUNNING"

    # The same again logs nothing a second time; what the rule removes goes, unless somebody has registered it.
    mlflow.register_model(f"models:/{model_of_first.model_id}", "of-somebody")
    run.keep_models([second, third], base_dir)
    again = _logged(tracking, run)
    assert sorted(again) == [(1, False), (2, False), (3, False)]
    assert again[2, False].model_id == logged[2, False].model_id
    run.keep_models([third], base_dir)
    assert sorted(_logged(tracking, run)) == [(1, False), (3, False)]

    # What a kill left half is logged anew.
    half = client.create_logged_model(model_of_first.experiment_id, name="half", source_run_id=run.run_id)
    run.keep_models([third], base_dir)
    assert half.model_id not in tracking.logged_checkpoints(run.run_id)


def test_mlflow_being_away_is_told_and_ends_nothing(
    run: MlflowRun, checkpoint: Callable[[Path, int], Path], base_dir: Path, tmp_path: Path, monkeypatch: Any, caplog: Any
) -> None:
    from mlflow.exceptions import MlflowException

    def away(*_: Any, **__: Any) -> None:
        raise MlflowException("the server is away")

    monkeypatch.setattr("model.release.package.log_checkpoint", away)
    monkeypatch.setattr("mlflow.MlflowClient.log_artifacts", away)
    run.keep_models([checkpoint(tmp_path, 1)], base_dir)
    run.keep_videos(tmp_path, "validation/step-0000001")
    told = [record.getMessage() for record in caplog.records]
    assert any("does not hold all checkpoints that are kept (the server is away)" in line for line in told)
    assert any("MLflow took no videos (the server is away)" in line for line in told)


def test_curve_takes_the_later_value_of_a_step_that_was_trained_twice(tracking: Tracking, run: MlflowRun) -> None:
    for step, value in ((1, 3.0), (2, 2.0), (2, 1.0), (3, 0.5)):
        run.note({"loss": value}, step)
    assert tracking.curve(run.run_id, "loss") == [(1, 3.0), (2, 1.0), (3, 0.5)]
    assert tracking.curve(run.run_id, "validation_loss") == []


def test_the_average_has_curves_of_its_own(tracking: Tracking, run: MlflowRun) -> None:
    for averaged, cosine in ((False, 0.5), (True, 0.75)):
        judged = SimpleNamespace(step=4, averaged=averaged, validation_loss=1.0, likeness=_likeness(cosine))
        run.judged(judged)  # type: ignore[arg-type]
    assert tracking.curve(run.run_id, "likeness") == [(4, 0.25)]
    assert tracking.curve(run.run_id, "ema/likeness") == [(4, 0.375)]
    assert tracking.curve(run.run_id, "ema/validation_loss") == [(4, 1.0)]


class FixedEngine:
    """Finds in every picture one frontal face, whose embedding is that of clip a."""

    info = EngineInfo("stub", "1", 2, "none", "stub")

    def detect(self, image_rgb: np.ndarray, *, embed: bool = True) -> list[Face]:
        nothing, known = np.zeros((0, 2), np.float32), np.array([1, 0], np.float32)
        return [Face((0, 0, 8, 8), 1.0, nothing, np.eye(3, dtype=np.float32), known, None)]


class Persons:
    """The cached clips of the validation split: nobody else resembles clip a."""

    def __init__(self, clip_list: Path, split: str) -> None:
        assert (clip_list.name, split) == ("clips.parquet", "validation")
        self.clip_ids = ("a", "b")

    def identity(self, index: int) -> torch.Tensor:
        return torch.eye(2)[index][None]


@pytest.fixture
def drawing(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Stands in for the model's drawing; keeps what was asked of it."""
    kept = SimpleNamespace(captions=[], fails=None, error=ValueError("the card is full"))
    manifest = SimpleNamespace(base=SimpleNamespace(layout="ti2v"))

    @contextmanager
    def live(*_: Any) -> Iterator[SimpleNamespace]:
        yield SimpleNamespace(fps=8.0, engine=FixedEngine(), manifest=manifest)

    def draw(pipeline: Any, beginning: Any, caption: str, on_step: Callable[[int, int], None]) -> np.ndarray:
        on_step(1, 8)
        kept.captions.append(caption)
        if caption == kept.fails:
            raise kept.error
        return np.stack([beginning.cut] * 3)

    monkeypatch.setattr(model.training.held_out_videos, "live_pipeline", live)
    monkeypatch.setattr(model.training.held_out_videos, "draw_held_out", draw)
    monkeypatch.setattr(model.release.pipeline, "engine_named", lambda name: name)
    monkeypatch.setattr(model.clips.clip_set, "ClipSet", Persons)
    return kept


@pytest.fixture
def job(tmp_path: Path) -> Callable[..., TrainingJob]:
    def make(**train: Any) -> TrainingJob:
        clips = []
        for name in ("a", "b"):
            Image.new("RGB", (16, 16)).save(tmp_path / f"{name}.png")
            known = {"clip_id": name, "first_frame": tmp_path / f"{name}.png", "caption": f"caption of {name}"}
            clips.append(HeldOutClip(**known, bucket=Bucket(3, 16, 16), centre_xy_px=(8, 8)))
        return TrainingJob(
            preset=_preset(**train),
            clip_list=tmp_path / "clips.parquet",
            held_out=tuple(clips),
            base_dir=tmp_path / "tiny",
            out_dir=tmp_path / "runs",
            dataset_version="v1",
            tracking_uri="sqlite:///nowhere",
            tracking_artifacts=tmp_path,
            tags={},
        )

    return make


JUDGED: Any = SimpleNamespace(
    step=4,
    averaged=False,
    validation_loss=1.25,
    validated_on="train",
    likeness=None,
    preset=_preset(),
    face_engine=SimpleNamespace(name="dlib"),
)


def _draw(job: TrainingJob, run_dir: Path, stop: Callable[[], bool] = lambda: False, judged: Any = JUDGED) -> Likeness | None:
    return Validation(job, MagicMock(), stop).draw(None, judged, run_dir)  # type: ignore[arg-type]


def test_each_person_is_drawn_and_measured_and_all_is_told(
    job: Any, drawing: SimpleNamespace, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Two drawn frames of each; the given one is left out."""
    caplog.set_level(logging.INFO, logger="lafid.training")
    likeness = _draw(job(), tmp_path)
    assert (likeness.frames, likeness.mean, likeness.by_yaw["yaw_0_20"].frames) == (4, 0.5, 4)
    assert drawing.captions == ["caption of a", "caption of b"]
    folder = tmp_path / VIDEOS / "step-0000004"
    assert sorted(path.name for path in folder.iterdir()) == ["a.mp4", "b.mp4"]
    averaged = SimpleNamespace(**vars(JUDGED) | {"averaged": True})
    assert _draw(job(), tmp_path, judged=averaged) == likeness
    assert sorted(path.name for path in folder.parent.iterdir()) == ["step-0000004", "step-0000004-ema"]

    mlflow = MagicMock()
    judged = SimpleNamespace(**vars(JUDGED) | {"likeness": likeness})
    Validation(job(), mlflow, lambda: False).tell(judged, tmp_path)  # type: ignore[arg-type]
    mlflow.judged.assert_called_once_with(judged)
    assert mlflow.keep_models.called
    mlflow.keep_videos.assert_called_once_with(folder, "validation/step-0000004")
    line = "step 4 of 9: validation loss 1.2500 on train clips; likeness 0.5000, 0 of 4 frames without a face"
    assert line in caplog.text
    assert judgement_line(averaged).endswith(
        "step 4 of 9, moving average: validation loss 1.2500 on train clips; likeness not measured"
    )


def test_a_video_that_fails_is_an_error_and_leaves_no_likeness_to_compare(
    job: Any, drawing: SimpleNamespace, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    drawing.fails = "caption of a"
    assert _draw(job(), tmp_path) is None
    [error] = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert error.getMessage() == "step 4 of 9: no video of clip a (ValueError: the card is full)"
    assert [path.name for path in (tmp_path / VIDEOS / "step-0000004").iterdir()] == ["b.mp4"]


def test_a_person_whose_picture_shows_no_face_is_left_out_of_every_judgement(
    job: Any, drawing: SimpleNamespace, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    drawing.fails, drawing.error = "caption of a", FaceError("no face found")
    likeness = _draw(job(), tmp_path)
    assert (likeness.frames, likeness.mean) == (2, 0.0)
    assert "held-out clip a judges no checkpoint: no face found" in caplog.text


def test_an_engine_that_is_not_there_is_an_error_in_the_log(
    job: Any, drawing: SimpleNamespace, tmp_path: Path, monkeypatch: Any, caplog: pytest.LogCaptureFixture
) -> None:
    def missing(name: str) -> None:
        raise LookupError(f"no networks of {name}")

    monkeypatch.setattr(model.release.pipeline, "engine_named", missing)
    assert _draw(job(), tmp_path) is None
    assert "step 4 of 9: no videos (LookupError: no networks of dlib)" in caplog.text


def test_sigterm_does_not_wait_for_a_video(
    job: Any, drawing: SimpleNamespace, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="lafid.training")
    with pytest.raises(DrawingStopped):
        _draw(job(), tmp_path, stop=lambda: True)
    assert drawing.captions == []
    assert "SIGTERM: step 4 of 9 is judged when the training goes on" in caplog.text
    assert not [record for record in caplog.records if record.levelno == logging.ERROR]


@pytest.mark.parametrize(
    ("train", "drawing", "complaint"),
    [
        ({"shard_base": True}, {"low_memory": True}, "leave low_memory out of drawing"),
        ({"offload_base": True}, {"low_memory": True}, "leave low_memory out of drawing"),
        ({"precision": "bfloat16", "trainable": "adapter"}, {"precision": "float32"}, "leave precision out of drawing"),
    ],
)
def test_a_drawing_that_the_training_leaves_no_room_for_is_refused(
    job: Any, train: dict[str, Any], drawing: dict[str, Any], complaint: str
) -> None:
    without = job(**train)
    with pytest.raises(ValidationError, match=complaint):
        TrainingJob(**dict(without) | {"drawing": DrawingSettings(**drawing)})
