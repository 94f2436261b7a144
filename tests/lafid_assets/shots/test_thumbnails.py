"""Small pictures of every frame, whatever its layout."""

from typing import Any

import av
import numpy as np
import pytest

from lafid_assets.shots.thumbnails import HEIGHT, WIDTH, Thumbnails
from model.encoding.shown import shown_frames


@pytest.mark.parametrize(("kind", "frames"), [("whole", 20), ("ten_bit", 10), ("endless", 10), ("grey", 10), ("restart", 30)])
def test_every_frame_is_one_thumbnail_on_the_rising_clock(zoo: Any, kind: str, frames: int) -> None:
    thumbnails = Thumbnails()
    with av.open(str(zoo.root / zoo.exhibits[kind].path)) as container:
        for shown in shown_frames(container, container.streams.video[0]):
            thumbnails(shown)
    assert thumbnails.stacked().shape == (frames, 3, HEIGHT, WIDTH)
    assert thumbnails.stacked().dtype == np.uint8
    assert thumbnails.pts == sorted(set(thumbnails.pts))
    luma = thumbnails.stacked()[:, 0].mean(axis=(1, 2))
    assert luma[5] > luma[1] + 20, "the frames of the zoo become brighter"


def test_no_frames_are_no_thumbnails() -> None:
    assert Thumbnails().stacked().shape == (0, 3, HEIGHT, WIDTH)
