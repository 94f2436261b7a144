"""Identity over time within a clip.

Belongs here: embeddings of one clip -> measures and decision. Not here: comparing clips (`clustering`).
"""

from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from lafid_assets.identity.policies import ConsistencyPolicy, similarity_for
from lafid_assets.outcomes import Reason, Status
from lafid_assets.schemas import ID_CONSISTENT_CLIPS

UNMEASURED: dict[str, Any] = dict.fromkeys(("embedded_frames", "similarity_mean", "similarity_min", "outlier_share", "centroid"))


def decide_clips(pose_filtered: pl.DataFrame, faces: pl.DataFrame, policy: ConsistencyPolicy) -> pl.DataFrame:
    """A row for every clip: those that the face constraints kept are judged, the others skipped."""
    main = faces.filter((pl.col("face_index") == 0) & pl.col("embedding").is_not_null()).sort("clip_id", "frame_index")
    embeddings = {
        str(clip_id): (str(group["engine"][0]), np.asarray(group["embedding"].to_list(), np.float64))
        for (clip_id,), group in main.group_by("clip_id", maintain_order=True)
    }
    return ID_CONSISTENT_CLIPS.frame(_row(clip, embeddings, policy) for clip in pose_filtered.iter_rows(named=True))


def similarity_to_medoid(embeddings: NDArray[np.float64]) -> NDArray[np.float64]:
    """Cosine of every embedding to the one that is most similar to all.

    Args:
        embeddings: (N, D), unit length.

    Returns:
        (N,); the medoid's own entry is 1.
    """
    cosine = embeddings @ embeddings.T
    return np.asarray(cosine[int(cosine.sum(axis=1).argmax())])


def _row(
    clip: dict[str, Any], embeddings: dict[str, tuple[str, NDArray[np.float64]]], policy: ConsistencyPolicy
) -> dict[str, Any]:
    known = {"clip_id": clip["clip_id"], "shard": clip["shard"], "policy": policy.name}
    outcome: dict[str, Any]
    if not clip["keep"]:
        outcome = {
            "status": Status.SKIPPED,
            "reason": Reason.UPSTREAM,
            "detail": f"pose_filtered_clips: {clip['reason']}",
        }
        return known | UNMEASURED | {"keep": False} | outcome
    engine, vectors = embeddings.get(clip["clip_id"], ("", np.empty((0, 0))))
    if len(vectors) < policy.min_embedded_frames:
        outcome = {"status": Status.REJECTED, "reason": Reason.IDENTITY_UNKNOWN, "detail": None}
        return known | UNMEASURED | {"embedded_frames": len(vectors), "keep": False} | outcome
    similarity = similarity_to_medoid(vectors)
    outlier_share = float(np.mean(similarity < similarity_for(engine, policy.min_similarity, "min_similarity")))
    keep = outlier_share <= policy.max_outlier_share
    centroid = vectors.mean(axis=0)
    return known | {
        "embedded_frames": len(vectors),
        "similarity_mean": float(similarity.mean()),
        "similarity_min": float(similarity.min()),
        "outlier_share": outlier_share,
        "centroid": (centroid / np.linalg.norm(centroid)).tolist(),
        "keep": keep,
        "status": Status.OK if keep else Status.REJECTED,
        "reason": None if keep else Reason.IDENTITY_CHANGE,
        "detail": None,
    }
