"""`identity_clusters`: which clips show the same person.

Belongs here: the asset. Not here: the clustering (`clustering`), its thresholds (`policies`).
"""

import dagster as dg
import polars as pl

from lafid_assets.identity.clustering import NOTHING, TABLES, cluster_clips
from lafid_assets.identity.policies import ClusterPolicy
from lafid_assets.schemas import FACE_CLIPS, ID_CONSISTENT_CLIPS, IDENTITY_CLUSTERS
from lafid_assets.step import Frames, Step
from resources.shard_store import UNPARTITIONED, ShardStore
from resources.warehouse import Warehouse

STEP = Step(
    writes=TABLES,
    reads=(ID_CONSISTENT_CLIPS.name, FACE_CLIPS.name),
    group="identity",
    code_version="2",
    kinds=frozenset({"numpy"}),
)


class IdentityClustersConfig(dg.Config, ClusterPolicy):
    """When two clips show one person."""


@dg.asset(**STEP.arguments(deps=["id_consistent_clips"]))
def identity_clusters(
    context: dg.AssetExecutionContext,
    config: IdentityClustersConfig,
    store: dg.ResourceParam[ShardStore],
    warehouse: dg.ResourceParam[Warehouse],
) -> dg.MaterializeResult:
    """Which clips show the same person, over all shards; a person keeps the name it had when clips are added."""
    return STEP.materialize(
        context, config, store, warehouse, lambda: cluster_clips(_kept(store), config, _earlier(store)), metadata=_describe
    )


def _kept(store: ShardStore) -> pl.DataFrame:
    engines = store.read_all(FACE_CLIPS.name).select("clip_id", "engine", "engine_version")
    kept = store.read_all(ID_CONSISTENT_CLIPS.name).filter("keep").select("clip_id", "centroid")
    return kept.join(engines, on="clip_id")


def _earlier(store: ShardStore) -> dict[str, pl.DataFrame]:
    """The last version; one that was written under another contract counts as none."""
    fits = all(
        UNPARTITIONED in store.partitions(table.name) and dict(store.read_table(table.name).schema) == table.dtypes
        for table in TABLES
    )
    return {table.name: store.read_table(table.name) for table in TABLES} if fits else NOTHING


def _describe(frames: Frames) -> dict[str, int | float]:
    clusters = frames[IDENTITY_CLUSTERS.name]
    facts = {"identities": clusters["identity_id"].n_unique(), "largest": max(clusters["cluster_size"].to_list(), default=0)}
    return facts | ({"threshold": float(clusters["threshold"][0])} if clusters.height else {})
