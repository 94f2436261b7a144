"""Frames in grey, and small."""

import numpy as np
import pytest

from lafid_assets.pictures.grey import thumbnail


def test_thumbnail_is_the_mean_luma_of_every_cell() -> None:
    picture = np.zeros((90, 161, 3), np.uint8)
    picture[:5, :5] = 255
    cells = thumbnail(picture)
    assert cells.shape == (18, 32)
    assert cells[0, 0] == pytest.approx(255, rel=0.01)
    assert cells[1:].max() == cells[:, 1:].max() == 0
