"""Which clips show the same person.

Belongs here: clips with centroids, and the last version -> the three tables of `identity_clusters`. Not here: the steps on the
way (`neighbours`, `impostor_pairs`, `merging`, `naming`), judging a single clip (`consistency`).
"""

import hashlib
from collections import defaultdict
from collections.abc import Mapping

import numpy as np
import polars as pl
from numpy.typing import NDArray

from lafid_assets.identity.impostor_pairs import choose_threshold
from lafid_assets.identity.merging import VERDICTS, Groups, Verdict, merge
from lafid_assets.identity.naming import Known, changes, name_groups
from lafid_assets.identity.neighbours import Pairs, Vectors, mutual, nearest_pairs
from lafid_assets.identity.policies import ClusterFigures, ClusterPolicy
from lafid_assets.schemas import IDENTITY_CLUSTERS, IDENTITY_EDGES, IDENTITY_HISTORY

TABLES = (IDENTITY_CLUSTERS, IDENTITY_EDGES, IDENTITY_HISTORY)
NOTHING = {table.name: table.frame([]) for table in TABLES}


class MixedEngines(ValueError):
    """The clips were analysed by different engines or versions, whose embeddings cannot be compared."""


def cluster_clips(clips: pl.DataFrame, policy: ClusterPolicy, earlier: Mapping[str, pl.DataFrame]) -> dict[str, pl.DataFrame]:
    """Mutual neighbours joined into persons that keep their names; only clips that are new are compared with all others.

    Args:
        clips: `clip_id`, `centroid` (unit length), `engine`, `engine_version`; any order.
        earlier: the three tables of the last version; `NOTHING` the first time.

    Returns:
        `identity_clusters`, `identity_edges` and `identity_history`.

    Raises:
        MixedEngines: the embeddings cannot be compared.
        EngineUncalibrated: the policy has no figures for the engine.
    """
    clips = clips.sort("clip_id")
    engine = one_engine(clips)
    before = earlier[IDENTITY_CLUSTERS.name]
    if engine is None:
        return _tables(pl.DataFrame(schema=IDENTITY_CLUSTERS.dtypes), NOTHING[IDENTITY_EDGES.name], earlier)
    figures = policy.figures_for(clips["engine"][0])
    vectors = clips["centroid"].cast(pl.List(pl.Float32)).list.to_array(len(clips["centroid"][0])).to_numpy()
    digests = _digests(vectors, engine, policy.neighbours, figures)
    known, searched = _already_compared(clips["clip_id"], digests, before, earlier[IDENTITY_EDGES.name])
    pairs = nearest_pairs(vectors, neighbours=policy.neighbours, floor=figures.edge_floor, searched=searched, known=known)
    is_mutual = mutual(pairs, len(vectors), policy.neighbours)
    threshold = choose_threshold(vectors, figures, policy.false_links_per_clip)
    groups = merge(vectors, pairs, is_mutual, threshold.cosine, figures.least_similarity)
    edges = _edges(clips["clip_id"], pairs, is_mutual, groups)
    clusters = _clusters(clips["clip_id"], groups, edges, before).with_columns(
        threshold=threshold.cosine, threshold_origin=pl.lit(threshold.origin), search_digest=pl.Series(digests)
    )
    return _tables(clusters, edges, earlier)


def one_engine(clips: pl.DataFrame) -> str | None:
    """Name and version of the engine that analysed all of the clips; None where there are no clips.

    Args:
        clips: `engine` and `engine_version`.

    Raises:
        MixedEngines: there are several.
    """
    engines = clips.select(pl.format("{} ({})", "engine", "engine_version").unique().sort()).to_series().to_list()
    if len(engines) > 1:
        raise MixedEngines(
            f"the kept clips were analysed by {' and '.join(engines)}: materialize face_info of all shards with one engine"
        )
    return engines[0] if engines else None


def _digests(vectors: Vectors, engine: str, neighbours: int, figures: ClusterFigures) -> list[str]:
    settings = f"{engine} {neighbours} {figures.edge_floor} ".encode()
    return [hashlib.sha256(settings + vector.tobytes()).hexdigest()[:16] for vector in vectors]


def _already_compared(
    clip_ids: pl.Series, digests: list[str], before: pl.DataFrame, edges: pl.DataFrame
) -> tuple[Pairs, NDArray[np.bool_]]:
    """The stored pairs that still hold, and which clips (N,) must be compared with all others.

    A clip is compared again when it is new or another than it was, and when one of its neighbours is: something farther away may
    have moved up into its list.
    """
    stored = dict(before.select("clip_id", "search_digest").iter_rows())
    unchanged = {clip: index for index, clip in enumerate(clip_ids) if stored.get(clip) == digests[index]}
    places = pl.DataFrame(
        {"clip": list(unchanged), "place": list(unchanged.values())}, schema={"clip": pl.String, "place": pl.Int32}
    )
    placed = (
        edges.select("clip_id_a", "clip_id_b", "similarity")
        .join(places.rename({"clip": "clip_id_a", "place": "first"}), on="clip_id_a", how="left")
        .join(places.rename({"clip": "clip_id_b", "place": "second"}), on="clip_id_b", how="left")
    )
    bereft = placed.filter(pl.col("first").is_null() | pl.col("second").is_null())
    searched = np.ones(len(clip_ids), np.bool_)
    searched[list(unchanged.values())] = False
    searched[pl.concat([bereft["first"], bereft["second"]]).drop_nulls().to_numpy()] = True
    whole = placed.drop_nulls(["first", "second"])
    first, second = whole["first"].to_numpy(), whole["second"].to_numpy()
    pairs = Pairs(first, second, whole["similarity"].to_numpy())
    return pairs.where(~searched[first] & ~searched[second]), searched


def _edges(clip_ids: pl.Series, pairs: Pairs, is_mutual: NDArray[np.bool_], groups: Groups) -> pl.DataFrame:
    inside = groups.verdict == VERDICTS.index(Verdict.INSIDE)
    return IDENTITY_EDGES.frame(
        pl.DataFrame(
            {
                "clip_id_a": clip_ids.gather(pairs.first),
                "clip_id_b": clip_ids.gather(pairs.second),
                "similarity": pairs.similarity,
                "mutual": is_mutual,
                "verdict": pl.Series([str(verdict) for verdict in VERDICTS]).gather(groups.verdict),
                "group_similarity": np.where(inside, np.nan, groups.group_similarity),
            }
        ).with_columns(pl.col("group_similarity").fill_nan(None))
    )


def _clusters(clip_ids: pl.Series, groups: Groups, edges: pl.DataFrame, before: pl.DataFrame) -> pl.DataFrame:
    """The columns of `identity_clusters` that say who, how many and how near."""
    places = defaultdict[int, list[int]](list)
    for place, label in enumerate(groups.label.tolist()):
        places[label].append(place)
    names = clip_ids.to_list()
    members = [[names[place] for place in places[label]] for label in range(len(places))]
    earlier = {clip: Known(*rest) for clip, *rest in before.select("clip_id", "identity_id", "split_key").iter_rows()}
    named = name_groups(members, earlier)
    least = [
        similarity if len(group) > 1 else None
        for similarity, group in zip(groups.least_similarity.tolist(), members, strict=True)
    ]
    persons = pl.DataFrame(
        {
            "label": range(len(places)),
            "identity_id": named.identity_ids,
            "split_key": named.split_keys,
            "cluster_size": [len(group) for group in members],
            "least_similarity": least,
        },
        schema_overrides={"label": pl.Int32, "least_similarity": pl.Float64},
    )
    columns = ("clip_id", "nearest_clip_id", "nearest_similarity")
    both = [edges.select(pl.col(a, b, "similarity")) for a, b in (("clip_id_a", "clip_id_b"), ("clip_id_b", "clip_id_a"))]
    nearest = (
        pl.concat([side.rename(dict(zip(side.columns, columns, strict=True))) for side in both])
        .sort("clip_id", -pl.col("nearest_similarity"), "nearest_clip_id")
        .unique("clip_id", keep="first")
    )
    own = pl.DataFrame({"clip_id": clip_ids, "label": groups.label})
    return own.join(persons, on="label", how="left").join(nearest, on="clip_id", how="left", maintain_order="left").drop("label")


def _tables(clusters: pl.DataFrame, edges: pl.DataFrame, earlier: Mapping[str, pl.DataFrame]) -> dict[str, pl.DataFrame]:
    """The three tables, with the changes since the last version written down."""
    history = earlier[IDENTITY_HISTORY.name]
    before = dict(earlier[IDENTITY_CLUSTERS.name].select("clip_id", "identity_id").iter_rows())
    rows = changes(before, dict(clusters.select("clip_id", "identity_id").iter_rows()))
    version = max(history["clusters_version"].to_list(), default=0) + bool(rows)
    happened = IDENTITY_HISTORY.frame({"clusters_version": version} | row for row in rows)
    return {
        IDENTITY_CLUSTERS.name: IDENTITY_CLUSTERS.frame(clusters.with_columns(clusters_version=pl.lit(version))),
        IDENTITY_EDGES.name: edges,
        IDENTITY_HISTORY.name: IDENTITY_HISTORY.frame(pl.concat([history, happened])),
    }
