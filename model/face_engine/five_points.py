"""Five points of a face (eyes, nose, mouth corners), and the coarse pose and the size of the head that they alone give.

Belongs here: which points of a landmark set are these five, and a rigid fit of five points. Not here: head pose that is stored
as a measure (`landmark_pose`, `head_pose`), finding landmarks (the engines).
"""

from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from model.face_engine.landmark_pose import load_landmark_pose
from model.face_engine.rotations import Angles, angles_from_rotation, nearest_rotation

Array = NDArray[np.float64]

_POINTS: dict[int, tuple[tuple[int, ...], ...]] = {
    5: ((0,), (1,), (2,), (3,), (4,)),
    68: (tuple(range(36, 42)), tuple(range(42, 48)), (30,), (48,), (54,)),
    106: ((38,), (88,), (86,), (52,), (61,)),
    468: ((33, 133), (362, 263), (1,), (61,), (291,)),
}
"""Number of landmarks (SCRFD, iBUG 300-W, insightface 2d106, MediaPipe FaceMesh) to the indices whose mean is each point."""
MAX_COARSE_DEG = 90.0
FACE_HEIGHT = 1.5
"""From hairline to chin in units of the mean face, so that a head is as high as SCRFD draws its box: over 582 faces of 40 clips
that dlib and SCRFD both found (2 frames a second) the median of head / SCRFD's box is 0.99 by either's points. dlib's heads are
0.997 of SCRFD's (5th to 95th percentile 0.94 to 1.05), its boxes 0.81 (0.68 to 0.92)."""


def five_points(landmarks_px: ArrayLike) -> Array:
    """(5, 2): left eye, right eye, nose tip, left and right mouth corner, left and right in the image, of (L, 2) landmarks.

    Raises:
        ValueError: there is no such landmark set.
    """
    points = np.asarray(landmarks_px, np.float64)
    if points.ndim != 2 or points.shape[1] != 2 or len(points) not in _POINTS:
        known = ", ".join(map(str, _POINTS))
        raise ValueError(f"landmarks are (L, 2) with L one of {known}, not {points.shape}")
    return np.stack([points[list(indices)].mean(axis=0) for indices in _POINTS[len(points)]])


def coarse_angles(landmarks_px: ArrayLike) -> Angles | None:
    """Yaw, pitch and roll guessed from the five points: the scaled orthographic pose of a mean face (POS, the first step of
    DeMenthon and Davis 1995, section 3).

    Good enough to see whether a head turns: the depth of the mean nose stands for everybody's, so that the size of an angle
    can be a quarter off while its changes keep their sign.

    Returns:
        None where the five points do not span a face (they coincide or lie on a line).
    """
    rows = _scaled_axes(landmarks_px)
    if rows is None:
        return None
    across, up = rows / np.linalg.norm(rows, axis=1)[:, None]
    return angles_from_rotation(nearest_rotation(np.stack([across, up, np.cross(across, up)], axis=1)))


def head_height_px(landmarks_px: ArrayLike) -> float | None:
    """Height of the face from hairline to chin, in pixels: `FACE_HEIGHT` times the scale at which the mean face lies on the
    five points, whatever its pose.

    The same for every engine, where boxes are not: a detector draws them as its labels were drawn.

    Returns:
        None where the five points do not span a face.
    """
    rows = _scaled_axes(landmarks_px)
    return None if rows is None else float(FACE_HEIGHT * np.linalg.norm(rows, axis=1).mean())


def _scaled_axes(landmarks_px: ArrayLike) -> Array | None:
    """(2, 3): the image's right and up in the head's axes, each as long as a unit of the mean face is in pixels; None where the
    five points do not span a face."""
    centred = five_points(landmarks_px) * (1.0, -1.0)
    centred = centred - centred.mean(axis=0)
    rows = centred.T @ _mean_face_inverse()
    lengths = np.linalg.norm(rows, axis=1)
    if lengths.min() < 1e-6 or abs(np.sum(rows[0] * rows[1])) > 0.99 * lengths.prod():
        return None
    return np.asarray(rows)


@lru_cache(maxsize=1)
def _mean_face_inverse() -> Array:
    """(5, 3): maps five centred image points to the first two columns of the scaled rotation (`rotations`: its columns are
    the camera's axes seen by the head)."""
    shape = load_landmark_pose().mean_shape
    points = np.stack([shape[list(indices)].mean(axis=0) for indices in _POINTS[68]])
    return np.asarray(np.linalg.pinv((points - points.mean(axis=0)).T), np.float64)
