"""Eyes, brows and mouth corners of a mean face that moves them, at poses with known angles."""

import numpy as np
import pytest
from numpy.typing import NDArray

from model.face_engine.expression import expression_of
from model.face_engine.landmark_pose import load_landmark_pose
from model.face_engine.rotations import rotation_from_angles

POSE = load_landmark_pose()
UPPER_LIDS, BROWS, MOUTH_CORNERS = [37, 38, 43, 44], slice(17, 27), [48, 54]


def _seen(shape: NDArray[np.float64], rotation: NDArray[np.float64]) -> NDArray[np.float64]:
    """(68, 2) pixels, y down."""
    return (shape @ rotation)[:, :2] * (150, -150) + (700, 300)


@pytest.mark.parametrize("angles", [(0, 0, 0), (35, 0, 0), (0, 25, 0), (-20, -15, 30)])
def test_a_movement_is_what_it_is_at_every_pose_and_moves_nothing_else(angles: tuple[float, float, float]) -> None:
    rotation = rotation_from_angles(*angles)
    still = np.array(expression_of(_seen(POSE.mean_shape, rotation), rotation))
    moves = ((UPPER_LIDS, 1, 0.02, (1, 0, 0)), (BROWS, 1, 0.05, (0, 1, 0)))
    for points, axis, by, changed in moves:
        shape = POSE.mean_shape.copy()
        shape[points, axis] += by
        moved = np.array(expression_of(_seen(shape, rotation), rotation)) - still
        # The lids are among the points that the scale is found by: it changes a little.
        assert moved == pytest.approx(np.array(changed) * by / POSE.face_height, abs=0.005)
    smile = POSE.mean_shape.copy()
    smile[MOUTH_CORNERS, 0] *= 1.2
    wider = expression_of(_seen(smile, rotation), rotation).mouth_width
    assert wider == pytest.approx(1.2 * still[2], abs=0.003)


def test_neither_pose_nor_size_changes_a_still_face() -> None:
    frontal = expression_of(_seen(POSE.mean_shape, np.eye(3)), np.eye(3))
    for angles in ((40, 0, 0), (-30, 20, -25), (0, -25, 0)):
        rotation = rotation_from_angles(*angles)
        assert expression_of(0.3 * _seen(POSE.mean_shape, rotation), rotation) == pytest.approx(frontal, abs=1e-6)
