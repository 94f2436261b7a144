"""Small pictures of every frame, whatever its layout."""

from typing import Any

import av
import numpy as np
import pytest

from lafid_assets.shots.search import HEIGHT, WIDTH, Thumbnailer
from model.encoding.shown import shown_frames


@pytest.mark.parametrize(("kind", "frames"), [("whole", 20), ("ten_bit", 10), ("endless", 10), ("grey", 10), ("restart", 30)])
def test_every_frame_is_one_small_picture(zoo: Any, kind: str, frames: int) -> None:
    thumbnail = Thumbnailer()
    with av.open(str(zoo.root / zoo.exhibits[kind].path)) as container:
        pictures = np.stack([thumbnail(shown.frame) for shown in shown_frames(container, container.streams.video[0])])
    assert pictures.shape == (frames, 3, HEIGHT, WIDTH)
    assert pictures.dtype == np.uint8
    luma = pictures[:, 0].mean(axis=(1, 2))
    assert luma[5] > luma[1] + 20, "the frames of the zoo become brighter"
