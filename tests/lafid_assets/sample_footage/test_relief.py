"""The surface under a face."""

import numpy as np
import pytest
from numpy.typing import NDArray

from lafid_assets.sample_footage.relief import CHIN, NOSE_TIP, HeadFrame, depth_at, depth_map


@pytest.fixture(scope="module")
def frame(collins_landmarks_px: NDArray[np.float64]) -> HeadFrame:
    return HeadFrame.of(collins_landmarks_px)


def test_the_unit_is_half_the_width_of_the_face(frame: HeadFrame) -> None:
    left, right = frame.landmarks[0], frame.landmarks[16]
    assert np.linalg.norm(right - left) == pytest.approx(2.0)
    assert abs(left[0] + right[0]) < 1e-9


def test_pixels_and_head_units_are_each_others_inverse(frame: HeadFrame) -> None:
    points = np.array(((0.0, 0.0), (1.0, -0.5)))
    assert np.allclose(frame.from_px(frame.to_px(points)), points)
    assert np.allclose(frame.to_px(np.zeros(2)), frame.origin_px)


def test_the_nose_stands_out_and_the_ears_lie_back(frame: HeadFrame) -> None:
    depth = depth_map(frame.landmarks, hair_half_width=1.6)

    def at(point: NDArray[np.float64]) -> float:
        u, v = np.float32(point).reshape(2, 1, 1)
        return float(depth_at(depth, u, v)[0, 0])

    nose, brow, ear, chin = (
        at(frame.landmarks[NOSE_TIP]),
        at(frame.landmarks[19]),
        at(frame.landmarks[0]),
        at(frame.landmarks[CHIN]),
    )
    assert 1.3 < nose < 1.6
    assert 0.9 < brow < 1.25
    assert ear < 0.5 < 0.9 < chin < nose
