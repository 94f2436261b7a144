"""`training_latents`: everything frozen, precomputed once a clip, cached in parts; a partition a shard.

Belongs here: the asset, and reading a shard's clips. Not here: keys and encoding (`latents`, `cache_parts`), all shards at once
(`precompute`), the encoders (`model.encoding.encoders`).
"""

from functools import cache
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
from pydantic import Field

from lafid_assets.schemas import FACE_EMBEDDINGS, FACE_INFO, LAFID_DATASET, TRAINING_LATENTS
from lafid_assets.steps.step import Step
from lafid_assets.steps.step_run import Frames, Work
from lafid_assets.training.base import base_folder, base_path
from lafid_assets.training.encoding import SHARDS_FOLDER
from lafid_assets.training.face_views import FACE_COLUMNS, FACE_KEY, asked_faces
from lafid_assets.training.latents import Encoding, count, encode_shard, encoded_with, intact, load_encoding, without_first_face
from model.clip_size import ClipSize
from model.model_store.vision import vision_folder, vision_name
from model.presets import preset
from resources.face_engine import model_store
from resources.lake.lake import Lake
from resources.lake.reader import Reader
from resources.store.file_store import FileStore


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
        eyes = None if semantic_dir is None else vision_name(model_store(), semantic_dir)
        return [chosen.base.name, chosen.clip.model_dump(), chosen.encoders.model_dump(), chosen.train.precision, eyes]


STEP = Step(
    writes=(TRAINING_LATENTS,),
    reads=(LAFID_DATASET.name, FACE_INFO.name, FACE_EMBEDDINGS.name),
    group="training",
    code_version="6",
    kinds=frozenset({"pytorch"}),
    facts=TrainingLatentsConfig.facts,
    opens_videos=True,
)


@STEP.as_asset(deps=["lafid_dataset"], pool="gpu")
def training_latents(
    context: dg.AssetExecutionContext,
    config: TrainingLatentsConfig,
    lake: dg.ResourceParam[Lake],
    store: dg.ResourceParam[FileStore],
) -> dg.MaterializeResult:
    """Everything frozen of a clip, encoded once and cached by what it depends on: latents, text rows and the face's features.

    `fusion_dit` trains from it without opening a video or loading an encoder.
    """
    clips_of: dict[str, list[str]] = {}

    @cache
    def encoding() -> Encoding:
        return encoding_of(config, store)

    def compute(shard: str) -> Frames:
        with lake.snapshot(all_cores=True) as reader:
            clips, faces = read_shard(reader, shard, preset(config.preset).clip)
        clips_of[shard] = clips["clip_id"].to_list()
        if clips.is_empty():
            return {TRAINING_LATENTS.name: TRAINING_LATENTS.frame([])}
        return {TRAINING_LATENTS.name: encode_shard(shard, clips, faces, encoding(), store)}

    work = Work(
        compute,
        clips_in=clips_of.__getitem__,
        settled=lambda _, frames: _is_settled(frames[TRAINING_LATENTS.name], config, store),
        metadata=lambda _, frames: _describe(frames, store),
    )
    return STEP.materialize(context, config, lake, work)


def encoding_of(config: TrainingLatentsConfig, store: FileStore) -> Encoding:
    """What encodes clips for a preset, loaded.

    Raises:
        BaseError: its base is not there; the message says how it gets there.
        NoGpuLeft: other processes have all GPUs.
    """
    return load_encoding(preset(config.preset), base_folder(config.preset, store), config.semantic_dir())


def read_shard(reader: Reader, shard: str, size: ClipSize) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The shard's rows of `lafid_dataset`, and `FACE_COLUMNS` of the faces that are asked for; those without an embedding are
    missing."""
    clips = reader.read(LAFID_DATASET.name, where="shard = ?", parameters=[shard])
    key = ", ".join(FACE_KEY)
    # Not the view: the few that are asked for find their embeddings, instead of all embeddings their faces.
    of_shard = [f"(SELECT * FROM {table} WHERE shard = ?)" for table in (FACE_INFO.name, FACE_EMBEDDINGS.name)]
    few = f"{of_shard[0]} SEMI JOIN asked USING ({key})"
    faces = reader.sql(
        f"SELECT {', '.join(FACE_COLUMNS)} FROM (SELECT * FROM {few}) JOIN {of_shard[1]} USING (shard, {key})",
        [shard, shard],
        asked=asked_faces(clips, size),
    )
    return clips, faces


def _is_settled(latents: pl.DataFrame, config: TrainingLatentsConfig, store: FileStore) -> bool:
    return intact(latents, store) and encoded_with(latents, base_path(config.preset), store)


def _describe(frames: Frames, store: FileStore) -> dict[str, Any]:
    latents = frames[TRAINING_LATENTS.name]
    files = {part["shard"] for parts in latents["parts"] for part in parts}
    size_bytes = sum(store.size(f"{SHARDS_FOLDER}/{file}") for file in files)
    first = {"clips_without_first_face": without_first_face(latents)}
    return count(latents) | first | {"files": len(files), "megabytes": round(size_bytes / 1e6, 2)}
