"""`reference_crops`: the reference faces of every kept clip, cut out once.

Belongs here: the asset. Not here: which faces (`references`), cutting (`cutting`).
"""

import dagster as dg
import polars as pl
from pydantic import Field

from lafid_assets.dataset.cutting import FOLDER, cut_references
from lafid_assets.dataset.references import FACE_COLUMNS, choose_references
from lafid_assets.outcomes import Status
from lafid_assets.schemas import FACE_INFO, RAW_CLIPS, REFERENCE_CROPS, SPEECH_TAGGED_CLIPS
from lafid_assets.step import Frames, Step
from model.encoding.head_mask import AUTO, MASKS, MaskChoice, choose_mask
from resources.face_engine import model_store
from resources.shard_store import ShardStore
from resources.warehouse import Warehouse

STEP = Step(
    writes=(REFERENCE_CROPS,),
    reads=(RAW_CLIPS.name, FACE_INFO.name, SPEECH_TAGGED_CLIPS.name),
    group="dataset",
    code_version="2",
    kinds=frozenset({"polars"}),
)


class ReferenceCropsConfig(dg.Config):
    """What cuts heads out. Another mask cuts anew and looks for no face again."""

    mask: str = Field(
        AUTO, description=f"auto (a matting network where the model store holds one, else the oval), {', '.join(MASKS)}"
    )


@dg.asset(**STEP.arguments(deps=["raw_clips", "face_info", "speech_tagged_clips"]))
def reference_crops(
    context: dg.AssetExecutionContext,
    config: ReferenceCropsConfig,
    store: dg.ResourceParam[ShardStore],
    warehouse: dg.ResourceParam[Warehouse],
) -> dg.MaterializeResult:
    """Faces at spread poses of every clip that is kept, the sharpest of each, with angles and boxes, cut out as pictures."""
    shard = context.partition_key
    mask = choose_mask(config.mask, model_store())
    return STEP.materialize(
        context,
        config,
        store,
        warehouse,
        lambda: {REFERENCE_CROPS.name: _cut(store, shard, mask)},
        outside=mask.info.model_dump(),
        intact=lambda frames: _all_there(frames[REFERENCE_CROPS.name], store),
        metadata=lambda frames: _describe(frames, mask),
    )


def _cut(store: ShardStore, shard: str, mask: MaskChoice) -> pl.DataFrame:
    kept = store.read_table(SPEECH_TAGGED_CLIPS.name, shard).filter(pl.col("status") == Status.OK)["clip_id"].implode()
    faces = store.read_table(FACE_INFO.name, shard, columns=FACE_COLUMNS).filter(pl.col("clip_id").is_in(kept))
    clips = store.read_table(RAW_CLIPS.name, shard).filter(pl.col("clip_id").is_in(kept))
    return cut_references(choose_references(faces), clips, store, mask)


def _all_there(crops: pl.DataFrame, store: ShardStore) -> bool:
    """A clip that failed counts as missing: its file may be back."""
    paths = [*crops["face_path"], *crops["head_path"]]
    return all(path is not None and store.exists(path) for path in paths)


def _describe(frames: Frames, mask: MaskChoice) -> dict[str, int | str]:
    crops = frames[REFERENCE_CROPS.name]
    return {
        "clips": crops["clip_id"].n_unique(),
        "clips_without_pictures": crops.filter(pl.col("status") != Status.OK)["clip_id"].n_unique(),
        "mask": f"{mask.info} ({mask.reason})",
        "pictures_in_the_store": FOLDER,
    }
