"""`lafid_dataset`: the training table, split by person and versioned by content.

Belongs here: the asset and the join that makes it. Not here: splits, references, versions (modules of these names).
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import dagster as dg
import polars as pl

from lafid_assets.dataset import face_tracks
from lafid_assets.dataset.funnel import clip_outcomes
from lafid_assets.dataset.references import cross_references
from lafid_assets.dataset.splits import split_identities
from lafid_assets.dataset.versions import dataset_version, is_kept, keep_version, rules_of
from lafid_assets.schemas import (
    DATASET_VERSIONS,
    FACE_CLIPS,
    FACE_FRAMES,
    FACE_INFO,
    ID_CONSISTENT_CLIPS,
    IDENTITY_CLUSTERS,
    LAFID_DATASET,
    POSE_FILTERED_CLIPS,
    RAW_CLIPS,
    REFERENCE_CROPS,
    SPEECH_INFO,
    SPEECH_TAGGED_CLIPS,
)
from lafid_assets.schemas.columns import ENGINE
from lafid_assets.schemas.products import REFERENCE
from lafid_assets.step import Frames, Step
from resources.shard_store import UNPARTITIONED, ShardStore
from resources.warehouse import Warehouse

READS = (
    RAW_CLIPS,
    FACE_CLIPS,
    FACE_INFO,
    FACE_FRAMES,
    POSE_FILTERED_CLIPS,
    ID_CONSISTENT_CLIPS,
    IDENTITY_CLUSTERS,
    SPEECH_INFO,
    SPEECH_TAGGED_CLIPS,
    REFERENCE_CROPS,
)
COLUMNS_READ = {
    SPEECH_INFO.name: (
        "clip_id",
        "has_audio",
        "engine",
        "engine_licence",
        "transcriber",
        "transcriber_licence",
        "status",
        "reason",
    ),
    FACE_INFO.name: face_tracks.FACE_COLUMNS,
    FACE_FRAMES.name: face_tracks.FRAME_COLUMNS,
}
"""Of a table whose greater part does not concern the dataset."""
MODELS_BESIDE = ("has_audio", "lip_engine", "lip_engine_licence", "transcriber", "transcriber_licence", "mask", "mask_licence")
VOICE_DETECTOR = "silero-vad: MIT"


def one_split_each(frames: Frames) -> list[str]:
    """No person is in two splits."""
    sides = frames[LAFID_DATASET.name].group_by("identity_id").agg(pl.col("split").n_unique())
    return [f"{name} is in {count} splits" for name, count in sides.filter(pl.col("split") > 1).sort("identity_id").rows()]


STEP = Step(
    writes=(LAFID_DATASET, DATASET_VERSIONS),
    reads=tuple(table.name for table in READS),
    group="dataset",
    code_version="3",
    kinds=frozenset({"polars"}),
    checks={"one_split_each": one_split_each},
)


class ClipsLost(ValueError):
    """The tables do not belong together: what every step passed would be missing from the dataset."""


class LafidDatasetConfig(dg.Config):
    """Nothing can be chosen here: what is kept was decided upstream."""


DEPS = ("identity_clusters", "reference_crops", "speech_tagged_clips", "id_consistent_clips", "pose_filtered_clips")


@dg.asset(**STEP.arguments(deps=DEPS))
def lafid_dataset(
    context: dg.AssetExecutionContext,
    config: LafidDatasetConfig,
    store: dg.ResourceParam[ShardStore],
    warehouse: dg.ResourceParam[Warehouse],
) -> dg.MaterializeResult:
    """The training table: clip, refined caption, references, identity, split by identity, licence; versioned by its content."""
    return STEP.materialize(
        context,
        config,
        store,
        warehouse,
        lambda: _put_together_and_keep(store),
        intact=lambda frames: all(is_kept(store, version) for version in frames[DATASET_VERSIONS.name]["dataset_version"]),
        metadata=_describe,
    )


class Dataset(NamedTuple):
    """The training table and all that its version depends on."""

    rows: pl.DataFrame
    version: str
    outcomes: pl.DataFrame
    decided_by: dict[str, Any]


def assemble(tables: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """Join what all steps know about the clips that every step passed.

    Args:
        tables: the whole tables named in `READS`.

    Raises:
        ClipsLost: a clip that every step passed has no person yet, or no face to refer to.
    """
    return put_together(tables).rows


def put_together(tables: Mapping[str, pl.DataFrame], earlier: Mapping[str, str] | None = None) -> Dataset:
    """`assemble`, with what the version was computed from.

    Args:
        earlier: split key to split, as in the last dataset: nobody changes sides.
    """
    joined = _join(tables)
    splits = split_identities(joined["split_key"], earlier)
    split = joined["split_key"].replace_strict(splits, return_dtype=pl.String) if splits else joined["split_key"]
    outcomes = clip_outcomes(tables)
    decided_by = rules_of(tables)
    version = dataset_version(joined.with_columns(split=split), outcomes, decided_by)
    return Dataset(joined.with_columns(split=split, dataset_version=pl.lit(version)), version, outcomes, decided_by)


def _put_together_and_keep(store: ShardStore) -> Frames:
    tables = {table.name: store.read_all(table.name, COLUMNS_READ.get(table.name)) for table in READS}
    made = put_together(tables, _sides_of_the_last(store))
    rows = LAFID_DATASET.frame(made.rows)
    versions = keep_version(store, rows, made.version, made.outcomes, made.decided_by)
    return {LAFID_DATASET.name: rows, DATASET_VERSIONS.name: versions}


def _sides_of_the_last(store: ShardStore) -> dict[str, str]:
    form = store.read_form(LAFID_DATASET.name, UNPARTITIONED) if store.partitions(LAFID_DATASET.name) else {}
    if "split_key" not in form:
        return {}
    return dict(store.read_table(LAFID_DATASET.name, columns=["split_key", "split"]).iter_rows())


def _join(tables: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    kept = tables[SPEECH_TAGGED_CLIPS.name].filter(pl.col("status") == "ok")
    columns = set(LAFID_DATASET.dtypes)
    crops = tables[REFERENCE_CROPS.name]
    identities = tables[IDENTITY_CLUSTERS.name].select("clip_id", "identity_id", "split_key").join(kept, on="clip_id", how="semi")
    joined = (
        kept.select("clip_id", "shard", "refined_caption", "speaking_status", "speaking_sentence")
        .join(_columns(tables[RAW_CLIPS.name], columns - {"shard", "width", "height"}), on="clip_id")
        .join(tables[FACE_CLIPS.name].select("clip_id", *(column.name for column in ENGINE)), on="clip_id")
        .join(tables[POSE_FILTERED_CLIPS.name].select("clip_id", "pose_variation_deg"), on="clip_id")
        .join(tables[ID_CONSISTENT_CLIPS.name].select("clip_id", identity_embedding="centroid"), on="clip_id")
        .join(identities, on="clip_id")
        .join(_references(crops), on="clip_id")
        .join(_face_tracks(tables, kept), on="clip_id")
        .join(cross_references(crops.select("clip_id", "reference_index"), identities), on="clip_id")
        .join(_models_beside(tables), on="clip_id")
    )
    lost = kept.join(joined, on="clip_id", how="anti")["clip_id"].sort()
    if len(lost):
        raise ClipsLost(
            f"{len(lost)} kept clips, the first {lost[0]}, have no identity or no reference face: "
            "materialize identity_clusters again"
        )
    return joined.with_columns(model_licences=_model_licences()).drop(MODELS_BESIDE)


def _references(crops: pl.DataFrame) -> pl.DataFrame:
    fields = [field.name for field in REFERENCE.fields]
    listed = crops.sort("clip_id", "reference_index").select("clip_id", references=pl.struct(fields).cast(REFERENCE))
    return listed.group_by("clip_id", maintain_order=True).agg("references")


def _models_beside(tables: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """`clip_id` and `MODELS_BESIDE`: what measured a clip beside the face engine of `face_clips`."""
    crops = tables[REFERENCE_CROPS.name].select("clip_id", "mask", "mask_licence").unique("clip_id")
    speech = tables[SPEECH_INFO.name].rename({"engine": "lip_engine", "engine_licence": "lip_engine_licence"})
    return speech.join(crops, on="clip_id", how="left").select("clip_id", *MODELS_BESIDE)


def _face_tracks(tables: Mapping[str, pl.DataFrame], kept: pl.DataFrame) -> pl.DataFrame:
    faces, frames = (tables[table.name].join(kept, on="clip_id", how="semi") for table in (FACE_INFO, FACE_FRAMES))
    return face_tracks.face_tracks(faces, frames)


def _model_licences() -> pl.Expr:
    heard = pl.when("has_audio").then(pl.lit(VOICE_DETECTOR))
    named = [pl.format("{}: {}", model, f"{model}_licence") for model in ("engine", "lip_engine", "transcriber", "mask")]
    return pl.concat_list(*named, heard).list.drop_nulls().list.unique().list.sort()


def _columns(table: pl.DataFrame, wanted: set[str]) -> pl.DataFrame:
    return table.select(name for name in table.columns if name in wanted)


def _describe(frames: Frames) -> dict[str, str | int]:
    dataset = frames[LAFID_DATASET.name]
    splits = dict(dataset.group_by("split").len().iter_rows())
    return {
        "dataset_version": dataset["dataset_version"][0] if dataset.height else "empty",
        "identities": dataset["identity_id"].n_unique(),
        **{f"clips_{split}": splits.get(split, 0) for split in ("train", "validation", "test")},
    }
