"""The loss curve: drawn for whatever there is, small, in grey."""

import io

import numpy as np
from PIL import Image

from lafid_assets.training.figures import training_png

LOSS = [(step, 2.0 / step) for step in range(10, 500, 10)]
JUDGED = [(100, 1.0), (200, 0.5), (300, 0.8)]


def _picture(png: bytes) -> Image.Image:
    return Image.open(io.BytesIO(png))


def test_what_is_judged_is_seen_in_black_and_white_and_the_picture_is_small() -> None:
    without = training_png(LOSS, [], [], [], best_step=None)
    by_loss = training_png(LOSS, JUDGED, [], [], best_step=200)
    assert _picture(by_loss).mode == "L"
    assert by_loss != without
    assert training_png(LOSS, JUDGED, [], [], best_step=200) == by_loss
    assert len(by_loss) < 50_000
    assert training_png(LOSS, JUDGED, [], [], best_step=300) != by_loss, "another checkpoint is the best"


def test_likeness_stands_below_with_the_average_and_the_best_marked() -> None:
    both = training_png(LOSS, JUDGED, JUDGED, JUDGED[1:], best_step=100)
    assert _picture(both).height > 1.5 * _picture(training_png(LOSS, JUDGED, [], [], best_step=100)).height
    assert (
        len({both, training_png(LOSS, JUDGED, JUDGED, [], best_step=100), training_png(LOSS, JUDGED, JUDGED, [], best_step=200)})
        == 3
    )


def test_nothing_yet_is_still_a_chart() -> None:
    assert np.asarray(_picture(training_png([], [], [], [], best_step=None))).std() > 5
