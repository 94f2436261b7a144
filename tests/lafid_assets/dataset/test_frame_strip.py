"""The strip of one clip's frames."""

import io

import numpy as np
from PIL import Image

from lafid_assets.dataset.contact_sheet import LINE_PX, STRIP_PX, draw_strip


def test_frames_stand_in_order_and_keep_their_proportions() -> None:
    red, blue = np.zeros((100, 50, 3), np.uint8), np.zeros((50, 100, 3), np.uint8)
    red[..., 0], blue[..., 2] = 255, 255
    strip = Image.open(io.BytesIO(draw_strip([(red, "first"), (blue, "second")])))
    assert strip.size == (STRIP_PX // 2 + 4 + 2 * STRIP_PX + 4, STRIP_PX + LINE_PX)
    assert strip.getpixel((STRIP_PX // 4, 100)) == (255, 0, 0)
    assert strip.getpixel((STRIP_PX, 100)) == (0, 0, 255)
    words = np.asarray(strip.convert("L"))[STRIP_PX:]
    assert (words[:, : STRIP_PX // 2] < 128).any()
    assert (words[:, STRIP_PX // 2 + 6 :] < 128).any()
