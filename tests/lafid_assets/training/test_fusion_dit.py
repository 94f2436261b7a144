"""`fusion_dit`: the training loop itself is tested in `model`; here what the asset makes of it."""

from dataclasses import dataclass, field
from typing import Any

import dagster as dg
import polars as pl
import pytest

from lafid_assets.definitions import build_resources
from lafid_assets.schemas import TRAINING_LATENTS
from lafid_assets.training.fusion_dit import FusionDitConfig, fusion_dit
from resources.settings import Settings
from resources.shard_store import ShardStore
from resources.trainer.job import Finished, TrainingJob


def test_config_changes_only_what_it_names() -> None:
    from model.presets import preset

    assert FusionDitConfig().resolved() == preset("tiny")
    changed = FusionDitConfig(steps=3, seed=7, trainable="adapter").resolved()
    assert (changed.train.steps, changed.train.seed, changed.train.trainable) == (3, 7, "adapter")
    assert changed.train.model_copy(update=preset("tiny").train.model_dump()) == preset("tiny").train


@pytest.mark.parametrize("wrong", [{"preset": "huge"}, {"trainable": "nothing"}])
def test_unknown_names_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong.values()))):
        FusionDitConfig(**wrong).resolved()


@dataclass(frozen=True)
class Trainer:
    """Stands in for the trainer's process; keeps the jobs that it was given."""

    jobs: list[TrainingJob] = field(default_factory=list)

    def train(self, context: dg.AssetExecutionContext, job: TrainingJob) -> Finished:
        self.jobs.append(job)
        folder = job.out_dir / f"run-{len(self.jobs)}" / "checkpoint"
        folder.mkdir(parents=True)
        (folder / "lafid.json").write_text("{}")
        return Finished(
            checkpoint_dir=folder,
            steps=job.preset.train.steps,
            resumed_from=0,
            loss_before=1.0,
            loss_after=0.5,
            ema_checkpoint_dir=None,
            mlflow_run_id="m-1",
            metrics={"loss": 0.5, "hfu": 0.46},
        )


def test_only_train_clips_train_and_a_lost_checkpoint_is_made_again(settings: Settings, store: ShardStore, row_of: Any) -> None:
    known = {"clip_list": "latents/clips-0.parquet", "dataset_version": "v1"}
    rows = [
        row_of(TRAINING_LATENTS, clip_id=clip, split=split, status=status, **known)
        for clip, split, status in (
            ("a", "train", "ok"),
            ("b", "test", "ok"),
            ("c", "validation", "ok"),
            ("d", "train", "ok"),
            ("e", "train", "skipped"),
        )
    ]
    store.write_group({"training_latents": TRAINING_LATENTS.frame(rows)}, "all", "f")
    instance = dg.DagsterInstance.ephemeral()
    trainer = Trainer()
    resources = build_resources(settings) | {"trainer": trainer}
    shown: list[Any] = []

    def run(**config: Any) -> pl.DataFrame:
        ops = {"ops": {"fusion_dit": {"config": config}}}
        result = dg.materialize([fusion_dit], instance=instance, resources=resources, run_config=ops)
        [event] = result.asset_materializations_for_node("fusion_dit")
        shown.append({name: value.value for name, value in event.metadata.items()})
        return store.read_table("fusion_dit")

    row = run().row(0, named=True)
    [job] = trainer.jobs
    assert job.clip_list == store.local_path("latents/clips-0.parquet")
    assert (job.preset.train.steps, job.base_dir.name, job.dataset_version) == (120, "tiny", "v1")
    assert job.tags.keys() >= {"lafid.dataset_version", "lafid.policy", "lafid.git_commit", "lafid.seed", "dagster.run_id"}
    assert job.tracking_uri == settings.mlflow_uri
    assert shown[0].items() >= {"train/loss": 0.5, "train/hfu": 0.46, "mlflow_run_id": "m-1", "resumed_from": 0}.items()
    assert (row["train_clips"], row["loss_before"], row["loss_after"], row["dataset_version"]) == (2, 1.0, 0.5, "v1")
    assert store.exists(f"{row['checkpoint_path']}/lafid.json")
    run()
    assert len(trainer.jobs) == 1
    assert not [name for name in shown[1] if name.startswith("train/")]
    store.local_path(f"{row['checkpoint_path']}/lafid.json").unlink()
    run()
    assert len(trainer.jobs) == 2
    run(steps=5)
    assert trainer.jobs[-1].preset.train.steps == 5
