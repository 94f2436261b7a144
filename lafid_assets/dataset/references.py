"""Reference faces of a clip: spread over poses, the sharpest of each.

Belongs here: face scores -> which faces serve as references, of the clip itself and of other clips of its person. Not here:
cutting them out (`cutting`), how often training draws another clip's face (the trainer's config).

Sources: FaithfulFaces (section 3.3) draws two crops of one clip and needs them at different poses; Mv2ID trains on further views
of the same clip (in-paired), cross-pairs from other clips being rare. Neither says how views are chosen: bins and counts are
ours.
"""

import hashlib
from collections.abc import Iterable
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from lafid_assets.schemas.products import CROSS_REFERENCE
from model.face_engine.rotations import quaternions_from_angles

YAW_BIN_DEG = 10.0
MOST_REFERENCES = 8
SAME_POSE_DEG = 1.0
"""Poses closer than this are one pose: of two equally far ones, to the degree, the sharper face is taken."""
MOST_CROSS_REFERENCES = 8
ANGLES = ("yaw_deg", "pitch_deg", "roll_deg")
FACE_COLUMNS = (
    "clip_id",
    "shard",
    "frame_index",
    "pts",
    "face_index",
    "track_id",
    *ANGLES,
    "rotation",
    "box_x1",
    "box_y1",
    "box_x2",
    "box_y2",
    "sharpness",
    "landmarks_px",
)
"""What is read of `face_info`."""


def choose_references(faces: pl.DataFrame) -> pl.DataFrame:
    """For every clip at most eight faces of the main track, the most frontal first.

    First the sharpest of each 10 degrees of yaw; where these are too many, those farthest apart, beginning with the most
    frontal; where they are too few, the faces farthest in pose from those already chosen.

    Args:
        faces: rows of `face_info`, of which `FACE_COLUMNS` are read.

    Returns:
        the chosen rows with `reference_index`, sorted by clip and index.
    """
    posed = main_faces(faces.select(FACE_COLUMNS)).drop_nulls([*ANGLES, "sharpness"])
    posed = posed.sort("clip_id", "frame_index", "face_index")
    runs = posed["clip_id"].rle().struct.field("len").to_numpy().astype(np.int64)
    poses = quaternions_from_angles(*(posed[angle].to_numpy() for angle in ANGLES))
    yaw, sharpness = posed["yaw_deg"].to_numpy(), posed["sharpness"].to_numpy()
    rows: list[int] = []
    for end, length in zip(np.cumsum(runs), runs, strict=True):
        clip = slice(end - length, end)
        rows += [int(end - length) + index for index in _spread(poses[clip], yaw[clip], sharpness[clip])]
    return (
        posed[rows]
        .sort("clip_id", pl.col("yaw_deg").abs(), "frame_index")
        .with_columns(reference_index=pl.int_range(pl.len(), dtype=pl.Int16).over("clip_id"))
    )


def cross_references(references: pl.DataFrame, identities: pl.DataFrame) -> pl.DataFrame:
    """For every clip up to eight references in other clips of the same person, one a clip.

    The clips of a person stand in a circle in the order of their ids' hashes; a clip takes the next ones in it, and of the k-th
    the k-th reference (counted round), so that poses differ. The cost grows with the clips, not with their square.

    Args:
        references: `clip_id` and `reference_index`.
        identities: `clip_id` and `identity_id`.

    Returns:
        `clip_id` and `cross_references` (list of `schemas.CROSS_REFERENCE`), a row a clip of `identities`.
    """
    counts: dict[str, int] = dict(references.group_by("clip_id").len().iter_rows())
    persons = identities.group_by("identity_id").agg("clip_id")["clip_id"]
    rows = [row for clips in persons for row in _circle([clip for clip in clips if counts.get(clip)], counts)]
    alone: list[tuple[str, list[dict[str, str | int]]]] = [(clip, []) for clip in identities["clip_id"] if not counts.get(clip)]
    schema: dict[str, Any] = {"clip_id": pl.String, "cross_references": pl.List(CROSS_REFERENCE)}
    return pl.DataFrame([*rows, *alone], schema=schema, orient="row").sort("clip_id")


def _circle(clips: Iterable[str], counts: dict[str, int]) -> list[tuple[str, list[dict[str, str | int]]]]:
    ring = sorted(clips, key=lambda clip: hashlib.sha256(clip.encode()).digest())
    size = len(ring)
    found = []
    for place, clip in enumerate(ring):
        others = [ring[(place + step) % size] for step in range(1, min(size - 1, MOST_CROSS_REFERENCES) + 1)]
        pairs: list[dict[str, str | int]] = [
            {"clip_id": other, "reference_index": step % counts[other]} for step, other in enumerate(others)
        ]
        found.append((clip, pairs))
    return found


def main_faces(faces: pl.DataFrame) -> pl.DataFrame:
    """Faces of the track that is most often the largest face of its clip; of a clip without tracks the largest of each frame."""
    largest = faces.filter(pl.col("face_index") == 0)
    tracks = (
        largest.drop_nulls("track_id")
        .group_by("clip_id", "track_id")
        .len()
        .sort("clip_id", "len", "track_id", descending=[False, True, False])
        .unique("clip_id", keep="first")
        .select("clip_id", main_track="track_id")
    )
    known = faces.join(tracks, on="clip_id", how="left")
    is_main = pl.col("track_id") == pl.col("main_track")
    return known.filter(
        pl.when(pl.col("main_track").is_null()).then(pl.col("face_index") == 0).otherwise(is_main.fill_null(False))
    ).drop("main_track")


def _spread(poses: NDArray[np.floating], yaw_deg: NDArray[np.floating], sharpness: NDArray[np.floating]) -> list[int]:
    """Indices of the chosen faces of one clip.

    Args:
        poses: (F, 4) unit quaternions.
        yaw_deg, sharpness: (F,).
    """
    bins = np.round(yaw_deg / YAW_BIN_DEG)
    best = [int(np.flatnonzero(bins == one)[np.argmax(sharpness[bins == one])]) for one in np.unique(bins)]
    if len(best) > MOST_REFERENCES:
        frontal = min(best, key=lambda index: (abs(yaw_deg[index]), index))
        return _fill([frontal], best, poses, sharpness)
    return _fill(best, range(len(poses)), poses, sharpness)


def _fill(chosen: list[int], pool: Iterable[int], poses: NDArray[np.floating], sharpness: NDArray[np.floating]) -> list[int]:
    """`chosen` and, one by one, the face of `pool` whose pose is farthest from all chosen ones."""
    left = np.array([index for index in pool if index not in chosen], dtype=np.int64)
    distance_deg = np.full(len(left), np.inf)
    taken = list(chosen)
    for newest in chosen:
        distance_deg = np.minimum(distance_deg, _angles_deg(poses[left], poses[newest]))
    while len(taken) < MOST_REFERENCES and len(left) and distance_deg.max() >= SAME_POSE_DEG:
        steps = np.floor(distance_deg / SAME_POSE_DEG)
        place = int(np.lexsort((left, -sharpness[left], -steps))[0])
        taken.append(int(left[place]))
        left, distance_deg = np.delete(left, place), np.delete(distance_deg, place)
        distance_deg = np.minimum(distance_deg, _angles_deg(poses[left], poses[taken[-1]]))
    return taken


def _angles_deg(poses: NDArray[np.floating], pose: NDArray[np.floating]) -> NDArray[np.floating]:
    """Geodesic angles between quaternions (N, 4) and one of them (4,)."""
    return np.rad2deg(2 * np.arccos(np.clip(np.abs(poses.astype(np.float64) @ pose.astype(np.float64)), 0, 1)))
