"""What a face does beside turning: eyes, brows and the width of the mouth, from 68 landmarks and the head's rotation.

Belongs here: landmarks and rotation -> shares of the face's height. Not here: head pose and how far the lips are apart
(`landmark_pose`), what finds the landmarks (the engines), how much an expression changes (`lafid_assets.faces`).
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from model.face_engine.interface import Expression
from model.face_engine.landmark_pose import load_landmark_pose

_UPPER_LIDS, _LOWER_LIDS = [37, 38, 43, 44], [40, 41, 46, 47]
_BROWS, _EYE_CORNERS = list(range(17, 27)), [36, 39, 42, 45]
_RIGHT_MOUTH_CORNER, _LEFT_MOUTH_CORNER = [54], [48]
_X, _Y = 0, 1


def expression_of(landmarks_px: ArrayLike, rotation: ArrayLike) -> Expression:
    """Distances in the head's own frame, which neither pose nor size changes.

    What the landmarks show beyond the mean face at that pose is measured along the head's axis, so that the depth between
    brow and eye, which a nod turns into height, does not count.

    Args:
        landmarks_px: (68, 2), x to the right and y down.
        rotation: (3, 3), of the same face, within 45 degrees of yaw: beyond, half of these points are hidden.
    """
    pose = load_landmark_pose()
    up = np.asarray(landmarks_px, np.float64) * (1.0, -1.0)
    head_to_camera = np.asarray(rotation, np.float64).T
    in_units = up / pose.px_per_unit(up, head_to_camera)

    def share(of: list[int], above: list[int], axis: int) -> float:
        """How far the points `of` lie from the points `above` along a head's axis, over the face's height."""
        mean_gap = pose.mean_shape[of].mean(axis=0) - pose.mean_shape[above].mean(axis=0)
        gap: NDArray[np.float64] = in_units[of].mean(axis=0) - in_units[above].mean(axis=0)
        along = head_to_camera[:2, axis]
        beyond_mean = (gap - head_to_camera[:2] @ mean_gap) @ along / (along @ along)
        return float((mean_gap[axis] + beyond_mean) / pose.face_height)

    return Expression(
        eye_opening=share(_UPPER_LIDS, _LOWER_LIDS, _Y),
        brow_height=share(_BROWS, _EYE_CORNERS, _Y),
        mouth_width=share(_RIGHT_MOUTH_CORNER, _LEFT_MOUTH_CORNER, _X),
    )
