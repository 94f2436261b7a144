"""`fusion_dit`: the trained checkpoint.

Belongs here: the asset. Not here: the training loop (`model.train`), the process that it runs in (`resources.trainer`).
"""

from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
from pydantic import Field

from lafid_assets.outcomes import Status
from lafid_assets.schemas import FUSION_DIT, TRAINING_LATENTS
from lafid_assets.step import Frames, Step
from lafid_assets.training.base import base_folder, base_path
from lafid_assets.training.latents import clip_list_of
from lafid_assets.training.origin import origin_tags
from model.presets import Preset, preset
from resources.shard_store import ShardStore
from resources.tracking import Tracking
from resources.trainer.client import TrainerClient
from resources.trainer.job import Finished, TrainingJob
from resources.warehouse import Warehouse

RUNS_FOLDER = "training_runs"
STEP = Step(
    writes=(FUSION_DIT,),
    reads=(TRAINING_LATENTS.name,),
    group="training",
    code_version="2",
    kinds=frozenset({"pytorch"}),
)


class FusionDitConfig(dg.Config):
    """A preset, and what of it to change; None leaves the preset's own value."""

    preset: str = Field("tiny", description="Name of the preset")
    steps: int | None = Field(None, ge=1, description="Optimizer steps")
    seed: int | None = Field(None, ge=0, description="Seed of every draw")
    trainable: str | None = Field(
        None, description="What is trained: adapter, adapter_and_cross_attention, adapter_and_lora, all"
    )

    def resolved(self) -> Preset:
        """The preset with the changes."""
        chosen = preset(self.preset)
        changes = {name: getattr(self, name) for name in ("steps", "seed", "trainable") if getattr(self, name) is not None}
        return chosen.model_copy(update={"train": type(chosen.train)(**chosen.train.model_dump() | changes)})


@dg.asset(**STEP.arguments(deps=["training_latents"], pool="gpu"))
def fusion_dit(
    context: dg.AssetExecutionContext,
    config: FusionDitConfig,
    store: dg.ResourceParam[ShardStore],
    warehouse: dg.ResourceParam[Warehouse],
    tracking: dg.ResourceParam[Tracking],
    trainer: dg.ResourceParam[TrainerClient],
) -> dg.MaterializeResult:
    """The video DiT with its three face experts, trained on the train split; an interrupted run goes on where it stopped."""
    chosen = config.resolved()
    trained: list[Finished] = []

    def compute() -> Frames:
        job = _job(chosen, store, tracking, context.run_id)
        trained.append(trainer.train(context, job))
        return {FUSION_DIT.name: FUSION_DIT.frame([_row(job, trained[0], store)])}

    return STEP.materialize(
        context,
        config,
        store,
        warehouse,
        compute,
        outside=chosen.model_dump(mode="json"),
        intact=lambda frames: all(store.exists(f"{path}/lafid.json") for path in frames[FUSION_DIT.name]["checkpoint_path"]),
        metadata=lambda frames: _describe(frames) | (_describe_training(trained[0]) if trained else {}),
    )


def _job(chosen: Preset, store: ShardStore, tracking: Tracking, run_id: str) -> TrainingJob:
    latents = store.read_table(TRAINING_LATENTS.name)
    version = latents["dataset_version"][0] if latents.height else ""
    return TrainingJob(
        preset=chosen,
        clip_list=clip_list_of(latents, store),
        base_dir=base_folder(chosen.name, store),
        out_dir=store.local_path(RUNS_FOLDER),
        dataset_version=version,
        tracking_uri=tracking.uri,
        tracking_artifacts=tracking.artifacts,
        tags=origin_tags(chosen, version, store, run_id),
    )


def _row(job: TrainingJob, result: Finished, store: ShardStore) -> dict[str, Any]:
    from model.files import sha256_folder

    latents = store.read_table(TRAINING_LATENTS.name)
    return {
        "checkpoint_sha256": sha256_folder(result.checkpoint_dir),
        "checkpoint_path": _in_store(result.checkpoint_dir, store),
        "base_path": base_path(job.preset.name),
        "preset": job.preset.name,
        "steps": result.steps,
        "loss_before": result.loss_before,
        "loss_after": result.loss_after,
        "train_clips": latents.filter((pl.col("split") == "train") & (pl.col("status") == Status.OK)).height,
        "dataset_version": job.dataset_version,
    }


def _in_store(folder: Path, store: ShardStore) -> str:
    return folder.relative_to(store.local_path("")).as_posix()


def _describe(frames: Frames) -> dict[str, Any]:
    row = frames[FUSION_DIT.name].row(0, named=True)
    return {
        name: row[name] for name in ("loss_before", "loss_after", "steps", "train_clips", "checkpoint_path", "dataset_version")
    }


def _describe_training(result: Finished) -> dict[str, Any]:
    """What the trainer told; its last figures under `train/`, where Dagster plots them from one training to the next."""
    told = {"resumed_from": result.resumed_from, "mlflow_run_id": result.mlflow_run_id}
    if result.ema_checkpoint_dir:
        told["ema_checkpoint"] = result.ema_checkpoint_dir.as_posix()
    return told | {f"train/{name}": value for name, value in result.metrics.items()}
