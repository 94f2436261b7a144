"""Crops at the frame's own scale."""

import numpy as np
import pytest

from model.face_engine.crops import clipped_crop, square_crop


@pytest.fixture
def image() -> np.ndarray:
    return np.arange(100 * 80 * 3, dtype=np.int64).reshape(100, 80, 3).astype(np.uint8)


def test_a_square_is_centred_on_the_box(image: np.ndarray) -> None:
    crop = square_crop(image, (30, 40, 50, 60), 2.0)
    np.testing.assert_array_equal(crop, image[30:70, 20:60])


def test_a_square_takes_the_longer_side(image: np.ndarray) -> None:
    assert square_crop(image, (30, 40, 40, 60), 1.0).shape == (20, 20, 3)


def test_a_square_repeats_the_border(image: np.ndarray) -> None:
    crop = square_crop(image, (-10, 0, 10, 20), 1.0)
    np.testing.assert_array_equal(crop[:, :10], np.repeat(image[0:20, :1], 10, axis=1))
    np.testing.assert_array_equal(crop[:, 10:], image[0:20, 0:10])


def test_a_clipped_crop_ends_at_the_image(image: np.ndarray) -> None:
    np.testing.assert_array_equal(clipped_crop(image, (30, 40, 50, 60), 1.5), image[35:65, 25:55])
    np.testing.assert_array_equal(clipped_crop(image, (70, 90, 90, 110), 1.5), image[85:100, 65:80])


@pytest.mark.parametrize("box", [(10, 10, 10, 30), (30, 30, 10, 10)])
def test_a_box_without_area_has_no_crop(image: np.ndarray, box: tuple[float, float, float, float]) -> None:
    assert square_crop(image, box, 1.2) is None
    assert clipped_crop(image, box, 1.5) is None


def test_a_box_outside_the_image_has_no_clipped_crop(image: np.ndarray) -> None:
    assert clipped_crop(image, (200, 200, 220, 220), 1.5) is None
