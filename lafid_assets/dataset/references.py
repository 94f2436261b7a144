"""Reference faces of a clip: spread over poses, expressions and time, in an order whose first k are well spread.

Belongs here: face scores -> which faces serve as references, of the clip itself and of other clips of its person. Not here:
farthest-point sampling (`model.face_engine.view_spread`), cutting the faces out (`crops`), how often training draws another
clip's face (the trainer's config).

Sources: FaithfulFaces (section 3.3) draws two crops of one clip and needs them at different poses; Mv2ID trains on further views
of the same clip (in-paired), cross-pairs from other clips being rare; neither says how views are chosen. A paper of 2026 on
references of different expressions (USC, trained on OpenHumanVid) chooses them greedily by 0.75 (1 - ArcFace cosine) + 0.25 times
the distance in time. Its weights are ours, too; that pose shares the first, and the scales, is our choice.
"""

import hashlib
from collections.abc import Iterable
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from lafid_assets.schemas.products import CROSS_REFERENCE
from model.face_engine.view_spread import expression_gaps, farthest_first, pose_gaps_deg

SPREADS: dict[str, dict[str, float]] = {
    "both": {"pose": 0.375, "expression": 0.375, "time": 0.25},
    "pose": {"pose": 0.75, "time": 0.25},
    "expression": {"expression": 0.75, "time": 0.25},
}
"""What references are spread over, and how much each counts."""
LEAST_SCALES = {"pose": 10.0, "expression": 0.02, "time": 1.0}
"""A gap counts as a share of the clip's greatest, or of this where that is less: degrees, 1 - cosine, seconds."""
STEP = 0.05
"""The sharpest is taken among faces that are equally far from those before, to the step; a nearer one shows nothing new."""
NEARLY_FRONTAL_DEG = 10.0
"""The order begins with the sharpest of the faces whose yaw is so near to the most frontal one's."""
LEAST_SHARPNESS_SHARE = 0.5
"""Least share of the clip's median sharpness: a blurred face lies far from all others and shows nothing."""
MOST_REFERENCES = 8
GAPS = {"pose_gap_deg": "pose", "expression_gap": "expression"}
"""Columns that say what a reference adds, and what they are gaps of."""
MOST_CROSS_REFERENCES = 8
ANGLES = ("yaw_deg", "pitch_deg", "roll_deg")
FACE_COLUMNS = (
    "clip_id",
    "shard",
    "frame_index",
    "pts",
    "time_base_num",
    "time_base_den",
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
    "embedding",
)
"""What is read of `faces`."""

Array = NDArray[np.float64]


def choose_references(faces: pl.DataFrame, spread: str = "both", outside: pl.DataFrame | None = None) -> pl.DataFrame:
    """For every clip at most eight faces of the main track: a sharp frontal one, then each as far as can be from all before it.

    First those of the clip's window; where they show nothing new any more, those of its other seconds.

    Args:
        faces: rows of `faces`, of which `FACE_COLUMNS` are read.
        spread: one of `SPREADS`.
        outside: `clip_id` and `frame_index` of the frames that lie outside their clip's window; None: no clip has one.

    Returns:
        the chosen rows without embeddings, with `reference_index`, `pose_gap_deg` and `expression_gap` (to the nearest reference
        before it), sorted by clip and index.
    """
    measured = main_faces(faces.select(FACE_COLUMNS)).drop_nulls(["rotation", "sharpness", "embedding"])
    elsewhere = measured.select("clip_id", "frame_index").clear() if outside is None else outside
    measured = measured.join(elsewhere.with_columns(outside=True), on=["clip_id", "frame_index"], how="left")
    own_median = pl.col("sharpness").median().over("clip_id")
    sharp = measured.filter(pl.col("sharpness") >= LEAST_SHARPNESS_SHARE * own_median).sort(
        "clip_id", "frame_index", "face_index"
    )
    chosen = [_choose(clip, spread) for clip in sharp.partition_by("clip_id", maintain_order=True)]
    nothing = sharp.clear().with_columns(**dict.fromkeys(GAPS, pl.lit(None, pl.Float32)), reference_index=pl.lit(0, pl.Int16))
    return pl.concat([nothing, *chosen]).drop("embedding", "time_base_num", "time_base_den", "outside")


def _choose(faces: pl.DataFrame, spread: str) -> pl.DataFrame:
    """The references of one clip in order."""
    time_s = (faces["pts"] * faces["time_base_num"] / faces["time_base_den"]).to_numpy()
    gaps = {
        "pose": pose_gaps_deg(np.array(faces["rotation"].to_list()).reshape(-1, 3, 3)),
        "expression": expression_gaps(np.array(faces["embedding"].to_list())),
        "time": np.abs(time_s[:, None] - time_s[None]),
    }
    shares = {name: gap / max(gap.max(), LEAST_SCALES[name]) for name, gap in gaps.items()}
    apart = np.sum([weight * shares[name] for name, weight in SPREADS[spread].items()], axis=0)
    yaw, sharpness = np.abs(faces["yaw_deg"].to_numpy()), faces["sharpness"].to_numpy()
    inside = faces["outside"].is_null().to_numpy()
    inside = inside if inside.any() else ~inside
    frontal = inside & (yaw <= yaw[inside].min() + NEARLY_FRONTAL_DEG)
    first = int(np.where(frontal, sharpness, -np.inf).argmax())
    order = farthest_first(apart, [first], MOST_REFERENCES, sharpness, STEP, among=inside)
    order = farthest_first(apart, order, MOST_REFERENCES, sharpness, STEP)
    new = {column: pl.Series(_to_nearest_before(gaps[name], order), dtype=pl.Float32) for column, name in GAPS.items()}
    return faces[order].with_columns(**new, reference_index=pl.int_range(pl.len(), dtype=pl.Int16))


def _to_nearest_before(gaps: Array, order: list[int]) -> list[float | None]:
    return [None, *(float(gaps[one, order[:place]].min()) for place, one in enumerate(order) if place)]


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
