"""How much a clip's expression changes, from crafted faces."""

from typing import Any

import numpy as np
import pytest

from lafid_assets.faces.expressions import expression_measures
from model.face_engine.rotations import rotation_from_angles


def _face(yaw: float | None, embedding_deg: float, **values: Any) -> dict[str, Any]:
    """A face of the main track whose embedding is a direction in the plane."""
    rotation = None if yaw is None else rotation_from_angles(yaw, 0, 0).ravel().tolist()
    embedding = [float(np.cos(np.deg2rad(embedding_deg))), float(np.sin(np.deg2rad(embedding_deg)))]
    known = {"track_id": 0, "face_index": 0, "rotation": rotation, "embedding": embedding}
    return known | dict.fromkeys(("mouth_opening", "eye_opening", "brow_height", "mouth_width")) | values


def test_ranges_are_of_the_main_track_and_leave_out_the_outermost() -> None:
    smiling = [_face(0.0, 0.0, mouth_width=0.4 + 0.01 * n) for n in range(21)]
    beside = [_face(0.0, 0.0, mouth_width=9.0, track_id=1, face_index=1)] * 21
    measures = expression_measures([*smiling, *beside])
    assert measures["mouth_width_range"] == pytest.approx(0.18)
    assert measures["eye_opening_range"] is None


def test_embeddings_are_compared_at_like_poses_only() -> None:
    """Turned away, the face looks otherwise and that is no expression; nine degrees away it smiles."""
    turned = [_face(60.0, 60.0), _face(0.0, 0.0), _face(9.0, 20.0)]
    spread = expression_measures(turned)["expression_spread"]
    assert spread == pytest.approx(1 - np.cos(np.deg2rad(20)))
    assert expression_measures([_face(60.0, 60.0), _face(0.0, 0.0), _face(-30.0, 20.0)])["expression_spread"] is None


@pytest.mark.parametrize("faces", [[], [_face(0.0, 0.0)] * 2, [_face(0.0, 0.0, track_id=None)] * 5, [_face(None, 0.0)] * 5])
def test_what_cannot_be_measured_is_null(faces: list[dict[str, Any]]) -> None:
    assert set(expression_measures(faces).values()) == {None}
