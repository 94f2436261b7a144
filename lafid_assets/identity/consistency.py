"""Identity over time within a clip.

Belongs here: the leading face of each clip -> measures, decision, and the rule that decided. Not here: comparing clips
(`clustering`).
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from lafid_assets.constraints.explanation import RuleLine
from lafid_assets.identity.identity_changes import IdentityBreak, Sequence, tell_breaks
from lafid_assets.identity.leading_face import leading_faces
from lafid_assets.identity.policies import ConsistencyPolicy, figure_for
from lafid_assets.identity.pose_gap import Array, PoseGapCurve, calibrate, gaps_deg
from lafid_assets.outcomes import Reason, Status
from lafid_assets.policy_settings import settings_row
from lafid_assets.schemas import ID_CONSISTENT_CLIPS, POLICY_SETTINGS, SIMILARITY_BY_POSE_GAP
from lafid_assets.schemas.decisions import IDENTITY_MEASURES

Engine = tuple[str, str]
"""Name and version."""

FACE_COLUMNS = (
    *("clip_id", "frame_index", "face_index", "track_id", "box_x1", "box_y1", "box_x2", "box_y2", "frame_share"),
    *("score", "sharpness", "rotation", "embedding", "engine", "engine_version"),
)
FRAME_COLUMNS = ("clip_id", "frame_index", "luminance")
ENGINE_OF = ("clip_id", "engine", "engine_version")
UNMEASURED: dict[str, Any] = dict.fromkeys(IDENTITY_MEASURES)
UNKNOWN = {"keep": False, "status": Status.REJECTED, "reason": Reason.IDENTITY_UNKNOWN, "detail": None}
LEAST_PROFILE_WEIGHT = 0.2
"""A face turned by 78 degrees or more, or by an unknown angle, still counts so much in the centroid."""


def decide_clips(
    pose_filtered: pl.DataFrame, faces: pl.DataFrame, frames: pl.DataFrame, policy: ConsistencyPolicy
) -> dict[str, pl.DataFrame]:
    """A row for every clip: those that the face constraints kept are judged, the others skipped.

    Args:
        faces, frames: the shard's `faces` and `face_frames`, of which `FACE_COLUMNS` and `FRAME_COLUMNS` are read.

    Returns:
        `id_consistent_clips`, the curve that judged as `similarity_by_pose_gap`, and `policy_settings`.

    Raises:
        EngineUncalibrated: the policy has no figures for the engine.
    """
    leading = leading_faces(faces.select(FACE_COLUMNS)).filter(pl.col("embedding").is_not_null())
    engine_of = {clip: (name, version) for clip, name, version in leading.select(*ENGINE_OF).unique("clip_id").iter_rows()}
    sequences = dict(_sequences(leading, frames))
    kept = set(pose_filtered.filter("keep")["clip_id"])
    curves = _curves(leading, sequences, {engine for clip, engine in engine_of.items() if clip in kept}, engine_of, policy)
    sha256, settings = settings_row(policy.model_dump_json(exclude={"pose_gap"}))
    rows = []
    for clip in pose_filtered.iter_rows(named=True):
        known = {"clip_id": clip["clip_id"], "shard": clip["shard"], "policy": policy.name, "policy_sha256": sha256}
        if not clip["keep"]:
            skipped = {"keep": False, "status": Status.SKIPPED, "reason": Reason.UPSTREAM}
            rows.append(known | UNMEASURED | skipped | {"detail": f"pose_filtered_clips: {clip['reason']}"})
            continue
        sequence = sequences.get(clip["clip_id"])
        if sequence is None or len(sequence) < policy.min_embedded_frames:
            rows.append(known | UNMEASURED | {"embedded_frames": 0 if sequence is None else len(sequence)} | UNKNOWN)
            continue
        engine = engine_of[clip["clip_id"]]
        rows.append(known | _judge(sequence, engine[0], curves.get(engine), policy))
    shards = pose_filtered["shard"].unique().sort()
    return {
        ID_CONSISTENT_CLIPS.name: ID_CONSISTENT_CLIPS.frame(rows),
        SIMILARITY_BY_POSE_GAP.name: SIMILARITY_BY_POSE_GAP.frame(
            {"shard": shards[0], "engine": name, "engine_version": version} | row
            for (name, version), curve in curves.items()
            for row in curve.rows()
        ),
        POLICY_SETTINGS.name: settings,
    }


def similarity_to_medoid(embeddings: Array, eligible: NDArray[np.bool_]) -> tuple[int, Array]:
    """The eligible embedding that is most similar to all, and the cosine of every embedding to it.

    Args:
        embeddings: (N, D), unit length.
        eligible: (N,), at least one.

    Returns:
        its index, and (N,); the medoid's own entry is 1.
    """
    cosine = embeddings @ embeddings.T
    medoid = int(np.where(eligible, cosine.sum(axis=1), -np.inf).argmax())
    return medoid, np.asarray(cosine[medoid])


def _curves(
    leading: pl.DataFrame,
    sequences: dict[str, Sequence],
    engines: set[Engine],
    engine_of: dict[str, Engine],
    policy: ConsistencyPolicy,
) -> dict[Engine, PoseGapCurve]:
    """A curve for every engine of the shard's kept clips; with another rule than `pose_gap`, only for engines with figures."""
    main = _main_track_frames(leading)
    curves = {}
    for engine in sorted(engines):
        if policy.name != "pose_gap" and not _has_figures(engine[0], policy):
            continue
        figures = policy.gap_figures(engine[0])
        clips = [clip for clip, own in engine_of.items() if own == engine]
        tracks = [_same_track(sequences[clip], main.get(clip)) for clip in sorted(clips)]
        curves[engine] = calibrate(tracks, figures, policy.shipped_weight)
    return curves


def _has_figures(engine: str, policy: ConsistencyPolicy) -> bool:
    return bool({engine, engine.partition("/")[0]} & set(policy.pose_gap))


def _main_track_frames(leading: pl.DataFrame) -> dict[str, set[int]]:
    """Clip to the frames in which the most frequent track leads; clips without tracks are absent."""
    tracked = leading.filter(pl.col("track_id").is_not_null())
    counted = tracked.group_by("clip_id", "track_id").agg(pl.col("frame_index"))
    ranked = counted.sort("clip_id", pl.col("frame_index").list.len().cast(pl.Int64) * -1, "track_id").unique(
        "clip_id", keep="first"
    )
    return {clip: set(frames) for clip, frames in ranked.select("clip_id", "frame_index").iter_rows()}


def _same_track(sequence: Sequence, frames: set[int] | None) -> tuple[Array, Array]:
    if frames is None:
        return sequence.embeddings, sequence.rotations
    own = np.isin(sequence.frame_index, list(frames))
    return sequence.embeddings[own], sequence.rotations[own]


def _sequences(leading: pl.DataFrame, frames: pl.DataFrame) -> Iterator[tuple[str, Sequence]]:
    """The leading face of every clip as arrays."""
    numbered = frames.sort("clip_id", "frame_index").with_columns(place=pl.int_range(pl.len()).over("clip_id"))
    joined = leading.join(
        numbered.select("clip_id", "frame_index", "place", "luminance"), on=["clip_id", "frame_index"], how="left"
    ).sort("clip_id", "frame_index")
    for (clip_id,), group in joined.group_by("clip_id", maintain_order=True):
        steps = group["place"].diff().fill_null(1).to_numpy()
        yield (
            str(clip_id),
            Sequence(
                frame_index=group["frame_index"].to_numpy().astype(np.int64),
                embeddings=np.asarray(group["embedding"].to_list(), np.float64),
                rotations=np.stack([_rotation(values) for values in group["rotation"].to_list()]),
                boxes=group.select("box_x1", "box_y1", "box_x2", "box_y2").to_numpy().astype(np.float64),
                score=group["score"].cast(pl.Float64).to_numpy(),
                sharpness=_floats(group["sharpness"]),
                luminance=_floats(group["luminance"]),
                gap_before=np.asarray(steps > 1),
            ),
        )


def _floats(values: pl.Series) -> Array:
    """The values as an array, NaN for NULL."""
    return values.cast(pl.Float64).fill_null(float("nan")).to_numpy()


def _rotation(values: list[float] | None) -> Array:
    return np.full((3, 3), np.nan) if values is None else np.asarray(values, np.float64).reshape(3, 3)


def _judge(faces: Sequence, engine: str, curve: PoseGapCurve | None, policy: ConsistencyPolicy) -> dict[str, Any]:
    posed = np.asarray(np.isfinite(faces.rotations).all(axis=(1, 2)))
    medoid, similarity = similarity_to_medoid(faces.embeddings, posed if posed.any() else ~posed)
    gap = gaps_deg(faces.rotations, faces.rotations[medoid])
    measures = UNMEASURED | {
        "embedded_frames": len(faces),
        "similarity_mean": float(similarity.mean()),
        "similarity_min": float(similarity.min()),
        "pose_gap_max_deg": float(np.nanmax(gap)) if np.isfinite(gap).any() else None,
    }
    hidden = np.zeros(len(faces), np.bool_)
    unlike = np.zeros(len(faces), np.bool_)
    if curve is not None:
        others = np.arange(len(faces)) != medoid
        residual = curve.residual(similarity, gap)[others]
        unlike = ~curve.is_alike(similarity, gap, policy.most_spreads_below)
        breaks = tell_breaks(faces, unlike, curve, policy.most_spreads_below)
        hidden = breaks.hidden
        measures |= {
            "residual_mean": float(residual.mean()) if len(residual) else None,
            "residual_min": float(residual.min()) if len(residual) else None,
            "hidden_frames": int(hidden.sum()),
            "identity_break": breaks.kind,
            "identity_break_frame": breaks.frame_index,
        }
    if policy.name == "pose_gap":
        outlier, seen = unlike & ~hidden, ~hidden
    else:
        figure = figure_for(engine, policy.min_similarity, "min_similarity")
        outlier, seen = similarity < figure, np.ones(len(faces), np.bool_)
    if int(seen.sum()) < policy.min_embedded_frames:
        return measures | UNKNOWN
    measures["outlier_share"] = float(outlier.sum() / seen.sum())
    keep = {"mean": lambda: measures["similarity_mean"] >= figure, "minimum": lambda: measures["similarity_min"] >= figure}.get(
        policy.name, lambda: measures["outlier_share"] <= policy.max_outlier_share
    )()
    return measures | {
        "centroid": _centroid(faces, seen & ~outlier).tolist(),
        "keep": keep,
        "status": Status.OK if keep else Status.REJECTED,
        "reason": None if keep else Reason.IDENTITY_CHANGE,
        "detail": None if keep else _in_words(measures),
    }


def _in_words(measures: dict[str, Any]) -> str | None:
    kind, frame = measures["identity_break"], measures["identity_break_frame"]
    words = {
        IdentityBreak.HARD_CUT: f"a cut to another person at frame {frame}",
        IdentityBreak.SECOND_PERSON: f"another person leads from frame {frame}",
        IdentityBreak.UNCLEAR: f"the face does not look like one person from frame {frame} on",
    }
    return words.get(kind)


def _centroid(faces: Sequence, used: NDArray[np.bool_]) -> Array:
    """(D,) mean of the frames that look like the person: sharp and frontal ones weigh more."""
    if not used.any():
        used = np.ones(len(faces), np.bool_)
    sharpness = np.nan_to_num(faces.sharpness[used], nan=0.0)
    quality = (sharpness + 1e-6) / (sharpness + np.median(sharpness) + 1e-6)
    turned = gaps_deg(faces.rotations[used], np.eye(3))
    frontal = np.clip(np.cos(np.deg2rad(np.nan_to_num(turned, nan=90.0))), LEAST_PROFILE_WEIGHT, None)
    centroid = (quality * frontal) @ faces.embeddings[used]
    return np.asarray(centroid / np.linalg.norm(centroid))


def explain_identity(row: Mapping[str, Any], engine: str, policy: ConsistencyPolicy) -> list[RuleLine]:
    """Both rules of the policy; none for a clip that was not judged.

    Args:
        row: of `id_consistent_clips`.
        engine: whose embeddings were compared.
    """
    embedded = row["embedded_frames"]
    if embedded is None:
        return []
    least = policy.min_embedded_frames
    lines = [RuleLine(Reason.IDENTITY_UNKNOWN, "embedded_frames", embedded, f"at least {least}", embedded < least)]
    if policy.name in ("mean", "minimum"):
        measure = "similarity_mean" if policy.name == "mean" else "similarity_min"
        demand = f"at least {figure_for(engine, policy.min_similarity, 'min_similarity'):g}"
    else:
        measure, demand = "outlier_share", f"at most {policy.max_outlier_share:g}"
    return [*lines, RuleLine(Reason.IDENTITY_CHANGE, measure, row[measure], demand, row["reason"] == Reason.IDENTITY_CHANGE)]
