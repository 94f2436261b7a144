"""The loss curve: drawn for whatever there is, small, in grey."""

import io

import numpy as np
from PIL import Image

from lafid_assets.training.figures import loss_png

LOSS = [(step, 2.0 / step) for step in range(10, 500, 10)]
JUDGED = [(100, 1.0), (200, 0.5), (300, 0.8)]


def _picture(png: bytes) -> Image.Image:
    return Image.open(io.BytesIO(png))


def test_what_is_judged_is_seen_in_black_and_white_and_the_picture_is_small() -> None:
    without, with_it = loss_png(LOSS, []), loss_png(LOSS, JUDGED)
    assert _picture(with_it).mode == "L"
    assert with_it != without
    assert loss_png(LOSS, JUDGED) == with_it
    assert len(with_it) < 50_000
    assert loss_png(LOSS, [(100, 1.0), (200, 0.5), (300, 0.4)]) != with_it, "another checkpoint is the best"


def test_nothing_to_draw_is_a_picture_too() -> None:
    assert np.asarray(_picture(loss_png([], []))).std() > 5
