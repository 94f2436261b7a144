"""How much the main face's expression changes in a clip: eyes, brows and mouth, and what its embeddings say.

Belongs here: rows of `face_info` of one clip -> the measures of expression in `face_clips`. Not here: one face's expression
(`model.face_engine.expression`), choosing faces of different expressions (`dataset.references`).
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lafid_assets.schemas.measures import EXPRESSIONS
from model.face_engine.rotations import geodesic_deg

LEAST_FACES = 3
"""Fewer faces have no range."""
LIKE_POSE_DEG = 10.0
"""Poses so near differ by no more than a head pose network errs; what their embeddings differ by is not the turn."""
LOW, HIGH = 5, 95

Row = Mapping[str, Any]


def expression_measures(faces: Sequence[Row]) -> dict[str, float | None]:
    """The columns `<name>_range` of `EXPRESSIONS` and `expression_spread` of `face_clips`.

    Args:
        faces: rows of the clip's faces with `embedding`; the main one is the track that most often is its frame's largest face.
    """
    main = _main_track(faces)
    ranges = {f"{name}_range": _range([row[name] for row in main if row[name] is not None]) for name in EXPRESSIONS}
    return ranges | {"expression_spread": _spread_at_like_poses(main)}


def _main_track(faces: Sequence[Row]) -> list[Row]:
    led = Counter(row["track_id"] for row in faces if row["face_index"] == 0 and row["track_id"] is not None)
    if not led:
        return []
    main = min(led, key=lambda track: (-led[track], track))
    return [row for row in faces if row["track_id"] == main]


def _range(values: Sequence[float]) -> float | None:
    return float(np.subtract(*np.percentile(values, (HIGH, LOW)))) if len(values) >= LEAST_FACES else None


def _spread_at_like_poses(main: Sequence[Row]) -> float | None:
    """None where no two faces with embeddings have like poses."""
    known = [row for row in main if row["embedding"] is not None and row["rotation"] is not None]
    if len(known) < LEAST_FACES:
        return None
    rotations = np.array([row["rotation"] for row in known]).reshape(-1, 3, 3)
    embeddings = np.array([row["embedding"] for row in known])
    first, second = np.triu_indices(len(known), 1)
    alike = geodesic_deg(rotations[first], rotations[second]) <= LIKE_POSE_DEG
    if not alike.any():
        return None
    apart = 1 - (embeddings @ embeddings.T)[first, second]
    return float(max(0.0, np.percentile(apart[alike], HIGH)))
