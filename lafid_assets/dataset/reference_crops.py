"""`reference_crops`: the reference faces of every kept clip, cut out once.

Belongs here: the asset. Not here: which faces (`references`), cutting (`crops`).
"""

from typing import Any

import dagster as dg
import polars as pl
from pydantic import Field, field_validator

from lafid_assets import schemas
from lafid_assets.constraints.window import SAME_TIME_S
from lafid_assets.dataset.crops import FOLDER, are_there, cut_references
from lafid_assets.dataset.references import FACE_COLUMNS, SPREADS, choose_references
from lafid_assets.ingest.clip_prefetch import drop
from lafid_assets.ingest.locate import locate
from lafid_assets.outcomes import Status
from lafid_assets.steps.step import Step
from lafid_assets.steps.step_run import Frames, Work
from model.encoding.head_mask import AUTO, MASKS, MaskChoice, choose_mask
from resources.face_engine import model_store
from resources.lake.lake import Lake
from resources.store.file_store import FileStore

FOOTAGE_COLUMNS = ("clip_id", "content_sha256", "duration_s", "first_pts", "last_pts")
OUTSIDE_WINDOW = f"""
    SELECT clip_id, frame_index FROM {schemas.FACE_FRAMES.name} JOIN {schemas.POSE_FILTERED_CLIPS.name} USING (shard, clip_id)
    WHERE shard = ? AND time_s NOT BETWEEN window_start_s - {SAME_TIME_S} AND window_end_s + {SAME_TIME_S}
"""
"""Frames that no window holds; the NULL window of a clip that is used whole rules none out."""


class ReferenceCropsConfig(dg.Config):
    """Which faces are references and what cuts heads out. Other ones cut anew and look for no face again."""

    spread: str = Field("both", description="What the references of a clip are spread over, beside time: pose, expression, both")

    mask: str = Field(
        AUTO, description=f"auto (a matting network where the model store holds one, else the oval), {', '.join(MASKS)}"
    )

    @field_validator("spread")
    @classmethod
    def _is_known(cls, value: str) -> str:
        if value not in SPREADS:
            raise ValueError(f"references are not spread over {value!r}: choose one of {', '.join(SPREADS)}")
        return value

    def facts(self) -> dict[str, Any]:
        """The spread, and the mask that cuts."""
        return {"spread": self.spread} | choose_mask(self.mask, model_store()).info.model_dump()


STEP = Step(
    writes=(schemas.REFERENCE_CROPS,),
    reads=(
        *schemas.FOOTAGE_TABLES,
        schemas.FACE_INFO.name,
        schemas.FACE_EMBEDDINGS.name,
        schemas.FACE_FRAMES.name,
        schemas.POSE_FILTERED_CLIPS.name,
        schemas.SPEECH_TAGGED_CLIPS.name,
    ),
    group="dataset",
    code_version="6",
    kinds=frozenset({"polars"}),
    facts=ReferenceCropsConfig.facts,
    opens_videos=True,
    chosen=lambda config: {"mask": str(choose_mask(config.mask, model_store()).info)},
)


@STEP.as_asset(deps=["raw_clips", "face_info", "pose_filtered_clips", "speech_tagged_clips"], pool="cpu")
def reference_crops(
    context: dg.AssetExecutionContext,
    config: ReferenceCropsConfig,
    lake: dg.ResourceParam[Lake],
    store: dg.ResourceParam[FileStore],
) -> dg.MaterializeResult:
    """Sharp faces of every kept clip, those of its window first, spread over poses, expressions and time, cut out.

    Training shows them to the model as who the person is; exports and the contact sheet take their pictures from here.
    """
    mask = choose_mask(config.mask, model_store())
    work = Work(
        lambda shard: {schemas.REFERENCE_CROPS.name: _cut(lake, store, shard, config.spread, mask)},
        settled=lambda _, frames: _all_there(frames[schemas.REFERENCE_CROPS.name], store),
        metadata=lambda _, frames: _describe(frames, mask),
    )
    return STEP.materialize(context, config, lake, work)


def _cut(lake: Lake, store: FileStore, shard: str, spread: str, mask: MaskChoice) -> pl.DataFrame:
    kept = f"SELECT clip_id FROM {schemas.SPEECH_TAGGED_CLIPS.name} WHERE shard = ? AND status = '{Status.OK}'"
    with lake.snapshot() as reader:
        faces, clips = (
            reader.sql(f"SELECT {', '.join(columns)} FROM {table} WHERE shard = ? AND clip_id IN ({kept})", [shard, shard])
            for table, columns in ((schemas.FACES.name, FACE_COLUMNS), (schemas.FOOTAGE.name, FOOTAGE_COLUMNS))
        )
        outside = reader.sql(OUTSIDE_WINDOW, [shard])
    places = locate(lake, shard)
    crops = cut_references(choose_references(faces, spread, outside), clips, places, store, mask)
    drop(places.values())  # of the steps that open a shard's clips this is the last
    return crops


def _all_there(crops: pl.DataFrame, store: FileStore) -> bool:
    """A clip that failed counts as missing: its file may be back."""
    paths = [*crops["face_path"], *crops["head_path"]]
    return None not in paths and are_there(paths, store)


def _describe(frames: Frames, mask: MaskChoice) -> dict[str, int | str]:
    crops = frames[schemas.REFERENCE_CROPS.name]
    return {
        "clips": crops["clip_id"].n_unique(),
        "clips_without_pictures": crops.filter(pl.col("status") != Status.OK)["clip_id"].n_unique(),
        "mask": f"{mask.info} ({mask.reason})",
        "pictures_in_the_store": FOLDER,
    }
