"""`fusion_dit`: the trained checkpoint.

Belongs here: the asset. Not here: the training loop (`model.train`).
"""

import logging
from typing import Any

import dagster as dg
from pydantic import Field

from lafid_assets.schemas import FUSION_DIT, TRAINING_LATENTS
from lafid_assets.step import Frames, Step
from lafid_assets.training.base import base_folder, base_path
from lafid_assets.training.latents import files_of
from model.presets import Preset, preset
from resources.shard_store import ShardStore
from resources.warehouse import Warehouse

LOGGER = logging.getLogger("lafid.training")
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
) -> dg.MaterializeResult:
    """The video DiT with its three face experts, trained on the train split; a killed run goes on where it stopped."""
    return STEP.materialize(
        context,
        config,
        store,
        warehouse,
        lambda: {FUSION_DIT.name: FUSION_DIT.frame([_train(config.resolved(), store)])},
        outside=config.resolved().model_dump(mode="json"),
        intact=lambda frames: all(store.exists(f"{path}/lafid.json") for path in frames[FUSION_DIT.name]["checkpoint_path"]),
        metadata=_describe,
    )


def _train(chosen: Preset, store: ShardStore) -> dict[str, Any]:
    from model.files import sha256_folder
    from model.train import TrainReport, train

    latents = store.read_table(TRAINING_LATENTS.name)
    files = files_of(latents, "train", store)
    version = latents["dataset_version"][0] if latents.height else ""

    def report(state: TrainReport) -> None:
        left_s = state.seconds / max(state.step, 1) * (state.steps - state.step)
        LOGGER.info("fusion_dit: step %d of %d, loss %.4f, about %.0f s left", state.step, state.steps, state.loss, left_s)

    result = train(
        chosen,
        files,
        base_folder(chosen.name, store),
        store.local_path(RUNS_FOLDER),
        report,
        dataset_version=version,
    )
    return {
        "checkpoint_sha256": sha256_folder(result.checkpoint_dir),
        "checkpoint_path": result.checkpoint_dir.relative_to(store.local_path("")).as_posix(),
        "base_path": base_path(chosen.name),
        "preset": chosen.name,
        "steps": result.steps,
        "loss_before": result.loss_before,
        "loss_after": result.loss_after,
        "train_clips": len(files),
        "dataset_version": version,
    }


def _describe(frames: Frames) -> dict[str, Any]:
    row = frames[FUSION_DIT.name].row(0, named=True)
    return {
        name: row[name] for name in ("loss_before", "loss_after", "steps", "train_clips", "checkpoint_path", "dataset_version")
    }
