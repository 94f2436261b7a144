"""`identity_clusters`: which clips show the same person.

Belongs here: the asset. Not here: the clustering (`clustering`), its thresholds (`policies`).
"""

import dagster as dg

from lafid_assets.identity.clustering import NOTHING, TABLES, cluster_clips
from lafid_assets.identity.policies import ClusterPolicy
from lafid_assets.schemas import FACE_CLIPS, ID_CONSISTENT_CLIPS, IDENTITY_CLUSTERS
from lafid_assets.steps.step import Step
from lafid_assets.steps.step_run import Frames, Work
from resources.lake.lake import Lake

STEP = Step(
    writes=TABLES,
    reads=(ID_CONSISTENT_CLIPS.name, FACE_CLIPS.name),
    group="curation",
    code_version="3",
    kinds=frozenset({"numpy"}),
)
KEPT = f"""
    SELECT clip_id, centroid, engine, engine_version
    FROM {ID_CONSISTENT_CLIPS.name} JOIN {FACE_CLIPS.name} USING (shard, clip_id) WHERE keep
"""


class IdentityClustersConfig(dg.Config, ClusterPolicy):
    """When two clips show one person."""


@STEP.as_asset(deps=["id_consistent_clips"])
def identity_clusters(
    context: dg.AssetExecutionContext, config: IdentityClustersConfig, lake: dg.ResourceParam[Lake]
) -> dg.MaterializeResult:
    """Which clips show the same person, over all shards; a person keeps the name it had when clips are added.

    The dataset draws its splits and its cross references by person from it, and `lafid forget` finds all clips of somebody.
    """

    def compute(_: str) -> Frames:
        with lake.snapshot(all_cores=True) as reader:
            names = [table.name for table in TABLES]
            earlier = {name: reader.read(name) for name in names} if len(reader.stamps(names)) == len(names) else NOTHING
            kept = reader.sql(KEPT)
        return cluster_clips(kept, config, earlier)

    return STEP.materialize(context, config, lake, Work(compute, metadata=lambda _, frames: _describe(frames)))


def _describe(frames: Frames) -> dict[str, int | float]:
    clusters = frames[IDENTITY_CLUSTERS.name]
    facts = {"identities": clusters["identity_id"].n_unique(), "largest": max(clusters["cluster_size"].to_list(), default=0)}
    return facts | ({"threshold": float(clusters["threshold"][0])} if clusters.height else {})
