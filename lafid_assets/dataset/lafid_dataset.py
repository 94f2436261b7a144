"""`lafid_dataset`: the training table, split by person and versioned by content.

Belongs here: the asset and the join that makes it. Not here: splits, references, versions (modules of these names).
"""

from collections.abc import Mapping

import dagster as dg
import polars as pl

from lafid_assets.dataset.references import choose_references
from lafid_assets.dataset.splits import split_identities
from lafid_assets.dataset.versions import dataset_version
from lafid_assets.schemas import (
    FACE_CLIPS,
    FACE_INFO,
    ID_CONSISTENT_CLIPS,
    IDENTITY_CLUSTERS,
    LAFID_DATASET,
    POSE_FILTERED_CLIPS,
    RAW_CLIPS,
    SPEECH_TAGGED_CLIPS,
)
from lafid_assets.step import Frames, Step
from resources.shard_store import ShardStore
from resources.warehouse import Warehouse

READS = (
    RAW_CLIPS,
    FACE_CLIPS,
    FACE_INFO,
    POSE_FILTERED_CLIPS,
    ID_CONSISTENT_CLIPS,
    IDENTITY_CLUSTERS,
    SPEECH_TAGGED_CLIPS,
)


def one_split_each(frames: Frames) -> list[str]:
    """No person is in two splits."""
    sides = frames[LAFID_DATASET.name].group_by("identity_id").agg(pl.col("split").n_unique())
    return [f"{name} is in {count} splits" for name, count in sides.filter(pl.col("split") > 1).sort("identity_id").rows()]


STEP = Step(
    writes=(LAFID_DATASET,),
    reads=tuple(table.name for table in READS),
    group="dataset",
    code_version="1",
    kinds=frozenset({"polars"}),
    checks={"one_split_each": one_split_each},
)


class ClipsLost(ValueError):
    """The tables do not belong together: what every step passed would be missing from the dataset."""


class LafidDatasetConfig(dg.Config):
    """Nothing can be chosen here: what is kept was decided upstream."""


@dg.asset(**STEP.arguments(deps=["identity_clusters", "speech_tagged_clips", "id_consistent_clips", "pose_filtered_clips"]))
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
        lambda: {LAFID_DATASET.name: assemble({table.name: store.read_all(table.name) for table in READS})},
        metadata=_describe,
    )


def assemble(tables: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """Join what all steps know about the clips that every step passed.

    Args:
        tables: the whole tables named in `READS`.

    Raises:
        ClipsLost: a clip that every step passed has no person yet, or no face to refer to.
    """
    kept = tables[SPEECH_TAGGED_CLIPS.name].filter(pl.col("status") == "ok")
    columns = set(LAFID_DATASET.dtypes)
    joined = (
        kept.select("clip_id", "shard", "refined_caption", "speaking_status")
        .join(_columns(tables[RAW_CLIPS.name], columns - {"shard"}), on="clip_id")
        .join(tables[FACE_CLIPS.name].select("clip_id", "engine", "engine_version", "engine_licence"), on="clip_id")
        .join(tables[POSE_FILTERED_CLIPS.name].select("clip_id", "pose_variation_deg"), on="clip_id")
        .join(tables[ID_CONSISTENT_CLIPS.name].select("clip_id", identity_embedding="centroid"), on="clip_id")
        .join(tables[IDENTITY_CLUSTERS.name].select("clip_id", "identity_id"), on="clip_id")
        .join(choose_references(tables[FACE_INFO.name]), on="clip_id")
    )
    lost = kept.join(joined, on="clip_id", how="anti")["clip_id"].sort()
    if len(lost):
        raise ClipsLost(
            f"{len(lost)} kept clips, the first {lost[0]}, have no identity or no reference face: "
            "materialize identity_clusters again"
        )
    splits = split_identities(joined["identity_id"])
    split = joined["identity_id"].replace_strict(splits, return_dtype=pl.String) if splits else joined["identity_id"]
    dataset = joined.with_columns(split=split)
    decided_by = {
        name: ",".join(sorted(tables[name][column].unique()))
        for name, column in (
            (FACE_CLIPS.name, "fingerprint"),
            (POSE_FILTERED_CLIPS.name, "policy"),
            (ID_CONSISTENT_CLIPS.name, "policy"),
            (SPEECH_TAGGED_CLIPS.name, "policy"),
        )
    }
    return dataset.with_columns(dataset_version=pl.lit(dataset_version(dataset, decided_by)))


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
