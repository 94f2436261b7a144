"""`fusion_dit`: the training loop itself is tested in `model`; here what the asset makes of it."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import dagster as dg
import numpy as np
import polars as pl
import pytest
from PIL import Image

from lafid_assets.release.lineage import git_commit
from lafid_assets.schemas import DATASET_VERSIONS, LAFID_DATASET, TABLES, TRAINING_LATENTS
from lafid_assets.training import fusion_dit as module
from lafid_assets.training.fusion_dit import FusionDitConfig, _curves, _held_out, fusion_dit, origin_tags
from lafid_assets.training.held_out import first_frame
from model.clip_size import Bucket, ClipSize
from model.likeness import MeasuredFace, MeasuredVideo, likeness_of
from model.presets import preset
from resources.lake.catalog import Catalog
from resources.lake.lake import Lake
from resources.settings import Settings
from resources.store.file_store import FileStore
from resources.tracking import Tracking
from resources.trainer.job import Finished, KeptIn, TrainedCheckpoint, TrainingJob


def test_config_changes_only_what_it_names() -> None:
    assert FusionDitConfig().resolved() == preset("tiny")
    changed = FusionDitConfig(steps=3, seed=7, trainable="adapter", validate_every=2, keep_checkpoints=4).resolved()
    assert (changed.train.steps, changed.train.seed, changed.train.trainable) == (3, 7, "adapter")
    assert (changed.train.validate_every, changed.train.keep_checkpoints) == (2, 4)
    assert changed.train.model_copy(update=preset("tiny").train.model_dump()) == preset("tiny").train
    assert FusionDitConfig(steps=STEPS // 2).resolved().train.warmup_steps == preset("tiny").train.warmup_steps / 2
    assert FusionDitConfig(steps=STEPS // 2, train={"warmup_steps": 7}).resolved().train.warmup_steps == 7


@pytest.mark.parametrize("name", ["tiny", "wan2.1-t2v-1.3b"])
def test_steps_scale_the_schedule_wherever_they_are_said(name: str) -> None:
    assert FusionDitConfig(preset=name, train={"steps": 300}).resolved() == FusionDitConfig(preset=name, steps=300).resolved()
    assert FusionDitConfig(preset=name, steps=1).resolved().train.warmup_steps == 1


def test_a_schedule_that_never_comes_down_is_refused() -> None:
    with pytest.raises(ValueError, match="warmup_steps 300 of steps 300: .* let warmup_steps be less than steps"):
        FusionDitConfig(steps=300, train={"warmup_steps": 300}).resolved()


def test_any_line_of_training_can_be_changed_within_its_bounds() -> None:
    from model.presets import Stage

    train = {"deterministic": True, "curriculum": [{"until_step": 2, "frames": 5}], "face_loss_weight": 2}
    changed = FusionDitConfig(train=train, steps=3).resolved().train
    assert (changed.deterministic, changed.face_loss_weight, changed.steps) == (True, 2.0, 3)
    assert changed.curriculum == (Stage(until_step=2, frames=5),)
    for wrong, complaint in (
        ({"train": {"determinstic": True}}, "determinstic"),
        ({"train": {"lr": 2}}, "lr"),
        ({"train": {"steps": "many"}}, "steps"),
        ({"train": {"steps": 0}}, "steps"),
        ({"train": {"first_frame_dropout": 0.5}, "preset": "wan2.1-t2v-1.3b"}, "always|never"),
        ({"train": {"steps": 2}, "steps": 3}, "steps is said twice: take it out of train"),
    ):
        with pytest.raises(ValueError, match=complaint):
            FusionDitConfig(**wrong).resolved()


@pytest.mark.parametrize("wrong", [{"preset": "huge"}, {"trainable": "nothing"}])
def test_unknown_names_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong.values()))):
        FusionDitConfig(**wrong).resolved()


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        ({"publish": "worst"}, "'last', 'best', 'ema' or 'best_ema'"),
        ({"publish": "best"}, "set validate_every"),
        ({"publish": "ema", "train": {"ema_decay": None}}, "set ema_decay"),
    ],
)
def test_what_cannot_be_published_is_refused_before_training(wrong: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        FusionDitConfig(**wrong).resolved()


def _checkpoint(folder: Path, step: int, loss: float | None) -> TrainedCheckpoint:
    """Where it is judged it drew one frontal face, as like as its loss is low."""
    drawn = [] if loss is None else [MeasuredVideo((MeasuredFace(1 - loss, 0.0, None),), "s")]
    return TrainedCheckpoint(
        folder=folder,
        step=step,
        loss_after=0.5,
        validation_loss=loss,
        validated_on="validation" if drawn else None,
        likeness=likeness_of(drawn) if drawn else None,
        judged_by="likeness" if drawn else None,
    )


@dataclass(frozen=True)
class Trainer:
    """Stands in for the trainer's process; keeps the jobs that it was given. What it judges is best at step 2."""

    jobs: list[TrainingJob] = field(default_factory=list)
    left_out: tuple[str, ...] = ()

    def train(self, context: dg.AssetExecutionContext, job: TrainingJob) -> Finished:
        self.jobs.append(job)
        run_dir = job.out_dir / f"run-{len(self.jobs)}"
        judges, steps = job.preset.train.validate_every is not None, job.preset.train.steps
        last, best, ema = (run_dir / name for name in ("checkpoint", "checkpoints/step-2", "checkpoint_ema"))
        video = run_dir / "validation/step-0000002-ema/a.mp4"
        for checkpoint in (last, best, ema, video.parent):
            checkpoint.mkdir(parents=True)
            (checkpoint / "lafid.json").write_text(f"{{}}{checkpoint.name}")
        video.write_bytes(b"mp4")
        found = {
            "last": _checkpoint(last, steps, 0.9 if judges else None),
            "ema": _checkpoint(ema, steps, 0.8 if judges else None),
        }
        if judges:
            found |= {"best": _checkpoint(best, 2, 0.75)}
        return Finished(
            checkpoints=found,
            videos_dir=run_dir / "validation" if judges else None,
            resumed_from=0,
            loss_before=1.0,
            clips_left_out=self.left_out,
            mlflow_run_id="m-1",
            metrics={"loss": 0.5, "hfu": 0.46},
        )


@pytest.fixture
def tracking(settings: Settings) -> Tracking:
    return Tracking(settings.mlflow_uri, settings.mlflow_artifacts)


STEPS = preset("tiny").train.steps
SIZE = {"frames": 9, "height": 64, "width": 64, "fps": 8.0}


@pytest.fixture(autouse=True)
def _listed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rows of these tests name no parts that a list could hold."""
    monkeypatch.setattr(module, "write_list", lambda _, store: store.here("latents/clips-0.parquet"))


@pytest.fixture(autouse=True)
def _mlflow_curves(monkeypatch: pytest.MonkeyPatch) -> None:
    curves = {"loss": [(1, 2.0), (2, 1.0)], "validation_loss": [(2, 0.7)], "likeness": [(2, 0.25)], "ema/likeness": [(2, 0.2)]}
    monkeypatch.setattr(Tracking, "curve", lambda self, run_id, name: curves[name])


def test_only_train_clips_train_and_a_lost_checkpoint_is_made_again(
    tracking: Tracking, lake: Lake, store: FileStore, row_of: Any
) -> None:
    known = {"dataset_version": "v1"}
    rows = [
        row_of(TRAINING_LATENTS, clip_id=clip, split=split, status=status, **known | SIZE)
        for clip, split, status in (
            ("a", "train", "ok"),
            ("b", "test", "ok"),
            ("c", "validation", "ok"),
            ("d", "train", "ok"),
            ("left out", "train", "ok"),
            ("e", "train", "skipped"),
        )
    ]
    lake.put({"training_latents": TRAINING_LATENTS.frame(rows)}, "x", "f")
    dataset = [row_of(LAFID_DATASET, clip_id=row["clip_id"], split=row["split"], **known) for row in rows]
    lake.put({LAFID_DATASET.name: LAFID_DATASET.frame(dataset)}, "all", "f")
    instance = dg.DagsterInstance.ephemeral()
    trainer = Trainer(left_out=("left out",))
    resources = {
        "settings": Settings(home=lake.home, store_uri=lake.store.uri),
        "lake": lake,
        "store": store,
        "tracking": tracking,
        "trainer": trainer,
    }
    shown: list[Any] = []

    def run(**config: Any) -> pl.DataFrame:
        ops = {"ops": {"fusion_dit": {"config": config}}}
        result = dg.materialize([fusion_dit], instance=instance, resources=resources, run_config=ops)
        [event] = result.asset_materializations_for_node("fusion_dit")
        shown.append({name: value.value for name, value in event.metadata.items()})
        return lake.read("fusion_dit")

    row = run().row(0, named=True)
    [job] = trainer.jobs
    assert job.clip_list == store.here("latents/clips-0.parquet")
    assert (job.preset.train.steps, job.base_dir.name, job.dataset_version) == (STEPS, "tiny", "v1")
    assert job.tags.keys() >= {"lafid.dataset_version", "lafid.policy", "lafid.git_commit", "lafid.seed", "dagster.run_id"}
    assert job.tracking_uri == tracking.uri
    told = {"train/loss": 0.5, "train/hfu": 0.46, "mlflow_run_id": "m-1", "resumed_from": 0, "clips_left_out": 1}
    assert shown[0].items() >= told.items()
    assert (row["published"], row["step"], row["steps"], row["mlflow_run_id"]) == ("last", STEPS, STEPS, "m-1")
    assert row["validation_loss"] is row["validated_on"] is row["likeness"] is row["judged_by"] is None
    assert job.held_out == ()
    assert (row["train_clips"], row["loss_before"], row["loss_after"], row["dataset_version"]) == (2, 1.0, 0.5, "v1")
    assert store.exists(f"{row['checkpoint_path']}/lafid.json")
    run()
    assert len(trainer.jobs) == 1
    assert not [name for name in shown[1] if name.startswith("train/")]
    store.local_path(f"{row['checkpoint_path']}/lafid.json").unlink()
    run()
    assert len(trainer.jobs) == 2
    run(steps=5, train={"deterministic": True})
    assert trainer.jobs[-1].preset.train.steps == 5
    assert trainer.jobs[-1].preset.train.deterministic
    row = run(publish="ema").row(0, named=True)
    assert (row["published"], row["checkpoint_path"].rpartition("/")[-1]) == ("ema", "checkpoint_ema")


def test_what_was_trained_lies_in_a_store_on_s3_and_no_node_trains_it_again(
    bucket: str, tracking: Tracking, row_of: Any, tmp_path: Path
) -> None:
    catalog = Catalog.of(FileStore(str(tmp_path)), None)
    nodes = [FileStore(f"s3://{bucket}/lafid", tmp_path / name) for name in ("one", "two")]
    trainer = Trainer()
    rows = [row_of(TRAINING_LATENTS, clip_id="a", split="train", status="ok", dataset_version="v1", **SIZE)]
    for store in nodes:
        lake = Lake(store, catalog, tmp_path / "home", TABLES)
        lake.put({"training_latents": TRAINING_LATENTS.frame(rows)}, "x", "f")
        lake.put(
            {LAFID_DATASET.name: LAFID_DATASET.frame([row_of(LAFID_DATASET, clip_id="a", dataset_version="v1")])}, "all", "f"
        )
        resources = {"settings": Settings(home=lake.home, store_uri=store.uri), "lake": lake, "store": store}
        dg.materialize([fusion_dit], resources=resources | {"tracking": tracking, "trainer": trainer})
        [path] = lake.read("fusion_dit")["checkpoint_path"]
        lake.close()
    [job] = trainer.jobs
    assert job.kept_in == KeptIn(store_uri=nodes[0].uri, home=tmp_path / "home")
    assert job.out_dir == nodes[0].here("training_runs")
    assert (nodes[1].fetch(path) / "lafid.json").read_text() == "{}checkpoint"
    assert nodes[1].exists("bases/tiny/base.json")


def test_the_best_is_published_and_shown_with_its_curve_and_videos(
    tracking: Tracking, lake: Lake, store: FileStore, row_of: Any, dataset: pl.DataFrame
) -> None:
    """One person is held out: the job brings what its video begins with."""
    known = {"status": "ok"} | SIZE
    splits = {"a": "validation", "b": "validation", "c": "train"}
    latents = [row_of(TRAINING_LATENTS, clip_id=clip, split=split, start_s=0.5, **known) for clip, split in splits.items()]
    lake.put({TRAINING_LATENTS.name: TRAINING_LATENTS.frame(latents)}, "x", "f")
    held_out = dataset.with_columns(split=pl.lit("validation"))
    lake.put({LAFID_DATASET.name: held_out}, "all", "f")
    trainer = Trainer()
    config = {"steps": 4, "validate_every": 2, "publish": "best", "validation_clips": 2, "drawing": {"low_memory": True}}
    result = dg.materialize(
        [fusion_dit],
        resources={
            "settings": Settings(home=lake.home, store_uri=lake.store.uri),
            "lake": lake,
            "store": store,
            "tracking": tracking,
            "trainer": trainer,
        },
        run_config={"ops": {"fusion_dit": {"config": config}}},
    )
    row = lake.read("fusion_dit").row(0, named=True)
    assert (row["published"], row["step"], row["steps"]) == ("best", 2, 4)
    assert (row["validation_loss"], row["validated_on"], row["likeness"], row["judged_by"]) == (
        0.75,
        "validation",
        0.25,
        "likeness",
    )
    assert row["checkpoint_path"].endswith("checkpoints/step-2")
    [job] = trainer.jobs
    assert [clip.clip_id for clip in job.held_out] == ["a", "b"]
    assert job.held_out[0].caption == held_out["refined_caption"][0]
    first = np.asarray(Image.open(job.held_out[0].first_frame))
    assert np.array_equal(first, first_frame(held_out.row(0, named=True), 0.5))
    assert (job.held_out[0].bucket, job.drawing.low_memory) == (Bucket(9, 64, 64), True)
    [event] = result.asset_materializations_for_node("fusion_dit")
    shown = event.metadata
    assert shown["best_step"].value == 2
    assert (shown["best_likeness_yaw_0_20"].value, shown["ema_likeness"].value) == pytest.approx((0.25, 0.2))
    assert shown["curves"].value.startswith("![loss and likeness](data:image/png;base64,")
    [video] = shown["validation_videos"].value.records
    assert (video.data["step"], video.data["averaged"], video.data["clip_id"]) == (2, True, "a")
    assert Path(video.data["path"]).read_bytes() == b"mp4"


def test_a_held_out_clip_that_is_gone_costs_its_video_and_not_the_training(
    lake: Lake, dataset: pl.DataFrame, row_of: Any, caplog: pytest.LogCaptureFixture
) -> None:
    place = {"frames": 9, "height": 64, "width": 64, "start_s": 0.0}
    rows = [row_of(TRAINING_LATENTS, clip_id=clip, split="validation", status="ok", **place) for clip in "abc"]
    held_out = dataset.with_columns(split=pl.lit("validation"))
    lake.put({LAFID_DATASET.name: held_out}, "all", "f")
    lost, torn, _ = held_out.sort("identity_id").iter_rows(named=True)
    (Path(lost["clip_root"]) / lost["path"]).unlink()
    (Path(torn["clip_root"]) / torn["path"]).write_bytes(b"no video")
    assert [clip.clip_id for clip in _held_out(3, ClipSize(), TRAINING_LATENTS.frame(rows), lake)] == ["c"]
    assert "no video of held-out clip a is drawn: a has disappeared: put it back" in caplog.text
    assert "no video of held-out clip b is drawn: b cannot be read" in caplog.text


def test_a_curve_that_mlflow_does_not_give_does_not_undo_a_training(
    tracking: Tracking, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from mlflow.exceptions import MlflowException

    def away(*_: Any) -> None:
        raise MlflowException("the server is away")

    monkeypatch.setattr(Tracking, "curve", away)
    finished = MagicMock(mlflow_run_id="m-1", checkpoints={})
    assert _curves(finished, tracking) is None
    assert "the curves are not drawn, MLflow does not give them: the server is away" in caplog.text


def test_policies_are_those_that_decided_the_version(lake: Lake, row_of: Callable[..., dict[str, Any]]) -> None:
    decided = {"pose_filtered_clips": {"policy": ["cofe"], "fingerprint": ["f"]}, "speech_info": {"transcriber": ["small"]}}
    other = {"pose_filtered_clips": {"policy": ["faithfulfaces"]}}
    rows = [
        row_of(DATASET_VERSIONS, dataset_version=version, number=number, decided_by=json.dumps(tables))
        for number, (version, tables) in enumerate((("v1", decided), ("v2", other)), 1)
    ]
    lake.put({DATASET_VERSIONS.name: DATASET_VERSIONS.frame(rows)}, "all", "f")
    assert origin_tags(preset("tiny"), "v1", lake, "run-1") == {
        "lafid.dataset_version": "v1",
        "lafid.policy": "cofe",
        "lafid.git_commit": git_commit(),
        "lafid.preset": "tiny",
        "lafid.seed": "0",
        "dagster.run_id": "run-1",
    }


def test_version_that_nobody_kept_has_no_policy(lake: Lake) -> None:
    assert origin_tags(preset("tiny"), "v9", lake, "run-1")["lafid.policy"] == "none recorded"
