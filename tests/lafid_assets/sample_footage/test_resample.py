"""Maps from pixels to pixels."""

import numpy as np

from lafid_assets.sample_footage.resample import dense_map, grid_px, resample


def test_a_map_of_its_own_places_leaves_a_picture_as_it_is() -> None:
    size = (60, 45)
    picture = np.random.default_rng(0).integers(0, 256, (45, 60, 3), dtype=np.uint8)
    own_places = grid_px(size, 1).astype(np.float32)
    assert np.array_equal(resample(picture, own_places), picture)


def test_a_coarse_grid_covers_a_size_that_it_does_not_divide() -> None:
    size = (61, 44)
    dense = dense_map(grid_px(size, 3), size, 3)
    assert dense.shape == (44, 61, 2)
    inner = dense[2:-2, 2:-2] - grid_px(size, 1)[2:-2, 2:-2]
    assert np.abs(inner).max() < 1e-3


def test_beyond_the_border_the_border_goes_on() -> None:
    picture = np.arange(12, dtype=np.uint8).reshape(3, 4)
    assert resample(picture, np.float32([[[-5, 0], [99, 2]]])).tolist() == [[0, 11]]
