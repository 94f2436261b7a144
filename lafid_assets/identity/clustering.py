"""Which clips show the same person.

Belongs here: clip centroids -> clusters with stable names. Not here: judging a single clip (`consistency`).
"""

from itertools import chain, count

import numpy as np
import polars as pl
from numpy.typing import NDArray

from lafid_assets.schemas import IDENTITY_CLUSTERS


def cluster_clips(
    clip_ids: list[str], centroids: NDArray[np.float64], min_similarity: float, earlier: dict[str, str]
) -> pl.DataFrame:
    """Average-linkage clusters of centroids, cut at a cosine, so that one lookalike does not chain two persons together.

    Args:
        clip_ids: N ids.
        centroids: (N, D), unit length.
        min_similarity: mean cosine between two groups from which they are one person.
        earlier: clip id to identity id of the last time; a cluster keeps the most frequent name of its members.

    Returns:
        rows of `identity_clusters`.
    """
    if not clip_ids:
        return IDENTITY_CLUSTERS.frame([])
    cosine = centroids @ centroids.T
    labels = _average_linkage(cosine, min_similarity)
    names = _names(clip_ids, labels, earlier)
    sizes = {label: labels.count(label) for label in set(labels)}
    np.fill_diagonal(cosine, -np.inf)
    nearest = cosine.argmax(axis=1) if len(clip_ids) > 1 else None
    return IDENTITY_CLUSTERS.frame(
        {
            "clip_id": clip_id,
            "identity_id": names[label],
            "cluster_size": sizes[label],
            "nearest_clip_id": None if nearest is None else clip_ids[nearest[index]],
            "nearest_similarity": None if nearest is None else float(cosine[index, nearest[index]]),
        }
        for index, (clip_id, label) in enumerate(zip(clip_ids, labels, strict=True))
    )


def _average_linkage(cosine: NDArray[np.float64], min_similarity: float) -> list[int]:
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.spatial.distance import squareform

    if len(cosine) == 1:
        return [1]
    distance = np.clip(1 - (cosine + cosine.T) / 2, 0, None)
    np.fill_diagonal(distance, 0)
    tree = linkage(squareform(distance, checks=False), method="average")
    return [int(label) for label in fcluster(tree, t=1 - min_similarity, criterion="distance")]


def _names(clip_ids: list[str], labels: list[int], earlier: dict[str, str]) -> dict[int, str]:
    """Names by cluster: the members' most frequent earlier name if no other cluster took it, else one by the smallest clip id.

    A cluster that was split off may have lost the name of its smallest clip to the other part: it gets a number behind it.
    """
    names: dict[int, str] = {}
    for label in sorted(set(labels), key=lambda label: (-labels.count(label), min(_members(clip_ids, labels, label)))):
        members = _members(clip_ids, labels, label)
        votes = [earlier[clip] for clip in members if clip in earlier]
        ranked = sorted(set(votes), key=lambda name: (-votes.count(name), name))
        new = f"person-{min(members)[:12]}"
        wanted = chain(ranked, [new], (f"{new}-{number}" for number in count(2)))
        names[label] = next(name for name in wanted if name not in names.values())
    return names


def _members(clip_ids: list[str], labels: list[int], label: int) -> list[str]:
    return [clip for clip, own in zip(clip_ids, labels, strict=True) if own == label]
