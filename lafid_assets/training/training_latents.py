"""`training_latents`: everything frozen, precomputed once a clip, cached in parts.

Belongs here: the asset. Not here: keys and encoding (`latents`, `part_recipes`), the encoders (`model.encoding.encoders`).
"""

from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
from pydantic import Field

from lafid_assets.schemas import FACE_EMBEDDINGS, FACE_INFO, LAFID_DATASET, TRAINING_LATENTS
from lafid_assets.step import Step
from lafid_assets.step_run import Frames
from lafid_assets.training.base import base_folder
from lafid_assets.training.face_views import FACE_COLUMNS, FACE_KEY, asked_faces
from lafid_assets.training.latents import count, encode_dataset, intact, shards_folder, without_first_face
from model.model_store.vision import vision_folder
from model.presets import preset
from resources.face_engine import model_store
from resources.file_store import FileStore
from resources.lake import Lake
from resources.lake_reader import Reader


class TrainingLatentsConfig(dg.Config):
    """For which model the clips are encoded."""

    preset: str = Field("tiny", description="Name of the preset")
    semantic_encoder: str | None = Field(
        None,
        description="CLIP, SigLIP or DINOv2 of the presets that bring none: a name of `lafid models list`, or a folder; "
        "None: the one that the model store holds",
    )

    def semantic_dir(self) -> Path | None:
        """The vision encoder's folder; None where the preset takes the base's own.

        Raises:
            ValueError: one is named that the preset would not use.
        """
        if preset(self.preset).encoders.semantic != "folder":
            if self.semantic_encoder is not None:
                raise ValueError(f"preset {self.preset} takes its base's own semantic encoder: leave semantic_encoder out")
            return None
        return vision_folder(model_store(), self.semantic_encoder)

    def facts(self) -> list[Any]:
        """What of a preset decides the latents, and whose semantic features they hold."""
        chosen, semantic_dir = preset(self.preset), self.semantic_dir()
        return [chosen.clip.model_dump(), chosen.encoders.model_dump(), None if semantic_dir is None else str(semantic_dir)]


STEP = Step(
    writes=(TRAINING_LATENTS,),
    reads=(LAFID_DATASET.name, FACE_INFO.name, FACE_EMBEDDINGS.name),
    group="training",
    code_version="5",
    kinds=frozenset({"pytorch"}),
    facts=TrainingLatentsConfig.facts,
)


@dg.asset(**STEP.arguments(deps=["lafid_dataset"], pool="gpu"))
def training_latents(
    context: dg.AssetExecutionContext,
    config: TrainingLatentsConfig,
    lake: dg.ResourceParam[Lake],
    store: dg.ResourceParam[FileStore],
) -> dg.MaterializeResult:
    """Latents of the video, text rows and the face's features of every clip, in parts that are cached by what they depend on."""
    chosen, semantic_dir = preset(config.preset), config.semantic_dir()

    def compute(_: str) -> Frames:
        with lake.snapshot(all_cores=True) as reader:
            dataset = reader.read(LAFID_DATASET.name)
            faces = _faces(reader, asked_faces(dataset, chosen.clip))
        rows = encode_dataset(dataset, faces, chosen, base_folder(chosen.name, store), semantic_dir, store)
        return {TRAINING_LATENTS.name: rows}

    return STEP.materialize(
        context,
        config,
        lake,
        compute,
        settled=lambda _, frames: intact(frames[TRAINING_LATENTS.name], store),
        metadata=lambda _, frames: _describe(frames, store),
    )


def _faces(reader: Reader, asked: pl.DataFrame) -> pl.DataFrame:
    """`FACE_COLUMNS` of the faces that are asked for; those without an embedding are missing."""
    key = ", ".join(FACE_KEY)
    # Not the view: the few that are asked for find their embeddings, instead of all embeddings their faces.
    few = f"{FACE_INFO.name} SEMI JOIN asked USING ({key})"
    return reader.sql(
        f"SELECT {', '.join(FACE_COLUMNS)} FROM (SELECT * FROM {few}) JOIN {FACE_EMBEDDINGS.name} USING (shard, {key})",
        asked=asked,
    )


def _describe(frames: Frames, store: FileStore) -> dict[str, Any]:
    latents = frames[TRAINING_LATENTS.name]
    shards = {part["shard"] for parts in latents["parts"] for part in parts}
    size_bytes = sum((shards_folder(store) / shard).stat().st_size for shard in shards)
    first = {"clips_without_first_face": without_first_face(latents)}
    return count(latents) | first | {"shards": len(shards), "megabytes": round(size_bytes / 1e6, 2)}
