"""Motion: known shifts have known lengths, opposite ones do not cancel, and the same video always gives the same."""

from collections.abc import Sequence

import numpy as np
import pytest

from model.evaluation.measures.motion import motion_amplitude, motion_smoothness
from tests.model.evaluation.measures.invented import taken, video


def _texture(side: int) -> np.ndarray:
    """Smooth blobs that repeat at the edges, so that a shift has no border."""
    import cv2

    noise = np.random.default_rng(0).random((side, side)).astype(np.float32)
    blurred = cv2.GaussianBlur(np.tile(noise, (3, 3)), (0, 0), side / 40)[side : 2 * side, side : 2 * side]
    levels = 255 * (blurred - blurred.min()) / np.ptp(blurred)
    return np.repeat(levels.astype(np.uint8)[..., None], 3, axis=2)


def _shifted(positions: Sequence[tuple[int, int]], side: int = 160) -> np.ndarray:
    return np.stack([np.roll(_texture(side), position, axis=(0, 1)) for position in positions])


def _both(frames: np.ndarray, fps: float = 8.0) -> tuple[float | str, float | str]:
    return taken(motion_amplitude, video(frames, fps=fps)), taken(motion_smoothness, video(frames, fps=fps))


def test_a_steady_shift_has_its_length_and_is_smooth() -> None:
    """2 px a frame of 160, 8 frames a second: a tenth of the side a second, whatever the direction and size of the picture."""
    for frames in (_shifted([(0, 2 * n) for n in range(6)]), _shifted([(-4 * n, 0) for n in range(6)], side=320)):
        amplitude, smoothness = _both(frames)
        assert amplitude == pytest.approx(0.1, rel=0.1)
        assert smoothness > 0.95
    assert _both(frames, fps=16.0)[0] == pytest.approx(0.2, rel=0.1)


def test_going_to_and_fro_does_not_cancel_and_is_not_smooth() -> None:
    amplitude, smoothness = _both(_shifted([(0, 2 * (n % 2)) for n in range(6)]))
    assert amplitude == pytest.approx(0.1, rel=0.1)
    assert smoothness < 0.05


def test_noise_is_less_smooth_than_motion() -> None:
    noise = np.random.default_rng(1).integers(0, 256, (6, 160, 160, 3), np.uint8)
    assert _both(noise)[1] < 0.6


def test_what_stands_still_has_no_smoothness() -> None:
    assert _both(_shifted([(0, 0)] * 4)) == (pytest.approx(0, abs=1e-3), "nothing moves")
    assert _both(_shifted([(0, 0)])) == ("it takes two frames", "it takes three frames")
    assert _both(_shifted([(0, 0), (0, 2)]))[1] == "it takes three frames"


def test_the_same_video_gives_the_same() -> None:
    noise = np.random.default_rng(1).integers(0, 256, (4, 90, 160, 3), np.uint8)
    assert _both(noise) == _both(noise)
