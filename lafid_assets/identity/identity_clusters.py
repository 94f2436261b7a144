"""`identity_clusters`: which clips show the same person.

Belongs here: the asset. Not here: the clustering (`clustering`), its thresholds (`policies`).
"""

import dagster as dg
import numpy as np
import polars as pl

from lafid_assets.identity.clustering import cluster_clips
from lafid_assets.identity.policies import ClusterPolicy, similarity_for
from lafid_assets.schemas import FACE_CLIPS, ID_CONSISTENT_CLIPS, IDENTITY_CLUSTERS
from lafid_assets.step import Step
from resources.shard_store import ShardStore
from resources.warehouse import Warehouse

STEP = Step(
    writes=(IDENTITY_CLUSTERS,),
    reads=(ID_CONSISTENT_CLIPS.name, FACE_CLIPS.name),
    group="identity",
    code_version="1",
    kinds=frozenset({"scipy"}),
)


class MixedEngines(ValueError):
    """The shards were analysed by different engines, whose embeddings cannot be compared."""


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
    return STEP.materialize(context, config, store, warehouse, lambda: {IDENTITY_CLUSTERS.name: _clusters(store, config)})


def _clusters(store: ShardStore, policy: ClusterPolicy) -> pl.DataFrame:
    kept = store.read_all(ID_CONSISTENT_CLIPS.name).filter("keep").sort("clip_id")
    engines = sorted(store.read_all(FACE_CLIPS.name).join(kept, on="clip_id", how="semi")["engine"].unique())
    if len(engines) > 1:
        raise MixedEngines(
            f"the kept clips were analysed by {' and '.join(engines)}: materialize face_info of all shards with one engine"
        )
    earlier = store.read_table(IDENTITY_CLUSTERS.name) if store.partitions(IDENTITY_CLUSTERS.name) else None
    return cluster_clips(
        kept["clip_id"].to_list(),
        np.asarray(kept["centroid"].to_list(), np.float64),
        similarity_for(engines[0], policy.min_similarity, "min_similarity") if engines else 1.0,
        dict(earlier.select("clip_id", "identity_id").iter_rows()) if earlier is not None else {},
    )
