"""Measures of a frame and its faces that need no engine."""

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from lafid_assets.faces.rows import sharpness


def test_blur_lowers_sharpness(portrait: NDArray[np.uint8]) -> None:
    box = (150.0, 50.0, 300.0, 200.0)
    values = [
        sharpness(np.asarray(Image.fromarray(portrait).filter(ImageFilter.GaussianBlur(radius))), box) for radius in (0, 1, 2, 4)
    ]
    assert values == sorted(values, reverse=True)
    assert values[0] > 2 * values[2]


def test_size_alone_does_not_sharpen(portrait: NDArray[np.uint8]) -> None:
    box = (150.0, 50.0, 300.0, 200.0)
    twice = np.asarray(Image.fromarray(portrait).resize((1024, 1024), Image.Resampling.BICUBIC))
    assert sharpness(twice, tuple(2 * v for v in box)) == pytest.approx(sharpness(portrait, box), rel=0.5)


def test_box_that_reaches_out_is_cut_and_one_outside_is_unmeasured(portrait: NDArray[np.uint8]) -> None:
    assert sharpness(portrait, (-20, -20, 100, 100)) == pytest.approx(sharpness(portrait, (0, 0, 100, 100)))
    for box in ((-90, -90, -10, -10), (-90, 10, -10, 90), (600, 0, 700, 100), (0, 600, 100, 700), (10, 10, 11, 90)):
        assert sharpness(portrait, box) is None
