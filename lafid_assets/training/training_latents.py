"""`training_latents`: everything frozen, precomputed once a clip, keyed by content.

Belongs here: the asset. Not here: keys and encoding (`latents`), the encoders (`model.encoders`).
"""

import dagster as dg

from lafid_assets.schemas import LAFID_DATASET, TRAINING_LATENTS
from lafid_assets.step import Step
from lafid_assets.training.base import base_folder
from lafid_assets.training.latents import all_present, encode_dataset
from model.presets import preset
from resources.shard_store import ShardStore
from resources.warehouse import Warehouse

STEP = Step(
    writes=(TRAINING_LATENTS,),
    reads=(LAFID_DATASET.name,),
    group="training",
    code_version="2",
    kinds=frozenset({"pytorch"}),
)


class TrainingLatentsConfig(dg.Config):
    """For which model the clips are encoded."""

    preset: str = "tiny"


@dg.asset(**STEP.arguments(deps=["lafid_dataset"], pool="gpu"))
def training_latents(
    context: dg.AssetExecutionContext,
    config: TrainingLatentsConfig,
    store: dg.ResourceParam[ShardStore],
    warehouse: dg.ResourceParam[Warehouse],
) -> dg.MaterializeResult:
    """Latents of the video, text rows and the face features of every clip, one safetensors file each, cached by content."""
    clip_size = preset(config.preset).clip
    return STEP.materialize(
        context,
        config,
        store,
        warehouse,
        lambda: {
            TRAINING_LATENTS.name: encode_dataset(
                store.read_table(LAFID_DATASET.name), clip_size, base_folder(config.preset, store), store
            )
        },
        outside=clip_size.model_dump(),
        intact=lambda frames: all_present(frames[TRAINING_LATENTS.name]["latents_path"], store),
        metadata=lambda frames: {"megabytes": round(int(frames[TRAINING_LATENTS.name]["file_size_bytes"].sum()) / 1e6, 2)},
    )
