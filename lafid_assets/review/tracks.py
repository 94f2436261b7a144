"""What is drawn under a clip's video, on the video's own time: head pose, identity, speech, faces, cuts.

Belongs here: one clip's stored measures -> curves and spans in seconds since its first frame. Not here: reading them, drawing.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl

from lafid_assets.identity.consistency import similarity_to_medoid
from lafid_assets.identity.leading_face import leading_faces
from lafid_assets.identity.policies import ConsistencyPolicy, figure_for
from lafid_assets.identity.pose_gap import PoseGapCurve, gaps_deg

ANGLES = ("yaw_deg", "pitch_deg", "roll_deg")
Track = dict[str, Any]


def face_track(faces: pl.DataFrame, frames: pl.DataFrame) -> Track:
    """`time_s` of every sampled frame; the leading face's `yaw_deg`, `pitch_deg` and `roll_deg` there, None where there is none;
    `face_count`.

    Args:
        faces: rows of `faces` of one clip.
        frames: its rows of `face_frames`.
    """
    leading = leading_faces(faces).select("frame_index", *ANGLES)
    joined = frames.sort("frame_index").join(leading, on="frame_index", how="left", maintain_order="left")
    return {name: joined[name].to_list() for name in ("time_s", *ANGLES, "face_count")}


def identity_track(
    faces: pl.DataFrame, frames: pl.DataFrame, curve: pl.DataFrame, policy: ConsistencyPolicy | None, break_frame: int | None
) -> Track:
    """`time_s`, `similarity` (cosine to the clip's medoid) and `asked` (what the policy asks for at that pose; None
    where none has judged) of the leading faces, and `break_s`, where somebody else begins.

    Args:
        faces, frames: as `face_track` takes them.
        curve: rows of `similarity_by_pose_gap` of the clip's shard and engine.
        policy: which judged the clip.
        break_frame: `identity_break_frame`.
    """
    times = dict(frames.select("frame_index", "time_s").iter_rows())
    embedded = leading_faces(faces).drop_nulls("embedding").sort("frame_index")
    if embedded.is_empty():
        return {"time_s": [], "similarity": [], "asked": None, "break_s": None}
    rotations = np.stack([_rotation(values) for values in embedded["rotation"].to_list()])
    posed = np.asarray(np.isfinite(rotations).all(axis=(1, 2)))
    embeddings = np.asarray(embedded["embedding"].to_list(), np.float64)
    medoid, similarity = similarity_to_medoid(embeddings, posed if posed.any() else ~posed)
    asked = None
    if policy is not None and policy.name == "pose_gap" and curve.height:
        gaps = gaps_deg(rotations, rotations[medoid])
        asked = PoseGapCurve.from_rows(curve).asked(gaps, policy.most_spreads_below).tolist()
    elif policy is not None and policy.name != "pose_gap":
        asked = [figure_for(embedded["engine"][0], policy.min_similarity, "min_similarity")] * len(similarity)
    return {
        "time_s": [times[index] for index in embedded["frame_index"]],
        "similarity": similarity.tolist(),
        "asked": asked,
        "break_s": None if break_frame is None else times.get(break_frame),
    }


def speech_track(speech: Mapping[str, Any]) -> Track:
    """`voice` (spans), `mouth` (`time_s`, `opening`) and `words` (spans with `text`); empty where nothing was measured.

    Args:
        speech: the clip's row of `speech_info`, empty where there is none.
    """
    return {
        "voice": speech.get("voice_spans") or [],
        "mouth": {"time_s": speech.get("mouth_times_s") or [], "opening": speech.get("mouth_openings") or []},
        "words": [{name: one[name] for name in ("start_s", "end_s", "text")} for one in speech.get("segments") or []],
    }


def cuts(boundaries: pl.DataFrame) -> list[Track]:
    """`kind`, `score`, `start_s` and `end_s` of what looks like a cut. `boundaries`: rows of `shot_boundaries` of one clip."""
    spans = boundaries.select("kind", "score", start_s="last_s_before", end_s="first_s_behind")
    return spans.sort("start_s").to_dicts()


def _rotation(values: list[float] | None) -> np.ndarray:
    return np.full((3, 3), np.nan) if values is None else np.asarray(values, np.float64).reshape(3, 3)
