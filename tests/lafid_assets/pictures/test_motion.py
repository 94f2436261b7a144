"""How much pictures move, in a unit that knows neither their size nor their rate."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from lafid_assets.faces.sampling import decode_samples
from lafid_assets.ingest.packets import FrameIndex, read_index
from lafid_assets.pictures.motion import Motion, plan_pairs

SPEED = 0.05
"""Widths of the picture a second; the height stands still."""


def _measured(path: Path) -> float | None:
    motion = Motion.of(read_index(path))
    list(decode_samples(path, [], motion))
    return motion.mean()


@pytest.fixture(scope="module")
def pan(tmp_path_factory: pytest.TempPathFactory, write_video: Callable[..., Path]) -> Callable[..., Path]:
    texture = cv2.GaussianBlur(np.random.default_rng(0).uniform(0, 255, (320, 1200, 3)).astype(np.float32), (0, 0), 6)
    texture = cv2.normalize(texture, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)

    def of(width: int, height: int, rate: int, seconds: float, speed: float = SPEED) -> Path:
        frames = []
        for number in range(round(seconds * rate)):
            left = 576 * speed * number / rate
            shift = np.float32([[width / 576, 0, -left * width / 576], [0, height / 320, 0]])
            frames.append(cv2.warpAffine(texture, shift, (width, height), flags=cv2.INTER_AREA))
        path = tmp_path_factory.mktemp("pan") / "a.mp4"
        return write_video(path, pictures=np.stack(frames), fps=rate, options={"crf": "18"})

    return of


@pytest.mark.parametrize("film", [(576, 320, 24, 2.0), (288, 160, 24, 2.0), (288, 160, 5, 4.0)])
def test_a_pan_moves_alike_at_any_size_and_rate(pan: Callable[..., Path], film: Any) -> None:
    """Half of the pixels that it goes in ten frames of 24 a second: the other half of the mean is the height."""
    expected = 576 * SPEED * 10 / 24 / 2
    assert _measured(pan(*film)) == pytest.approx(expected, rel=0.2)


def test_a_still_film_does_not_move(pan: Callable[..., Path]) -> None:
    assert _measured(pan(288, 160, 24, 1.0, speed=0.0)) == pytest.approx(0, abs=0.1)


def test_a_film_too_short_or_too_slow_says_nothing(pan: Callable[..., Path]) -> None:
    assert _measured(pan(288, 160, 24, 0.3)) is None
    slow = FrameIndex(list(range(10)), [0], Fraction(1))
    assert plan_pairs(slow) == []
