"""A few frames of one clip side by side, each with a line under it.

Belongs here: pictures and words -> PNG bytes. Not here: choosing the frames, the sheet of many clips (`contact_sheet`).
"""

import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

HEIGHT_PX = 200
LINE_PX = 18


def draw_strip(pictures: Sequence[tuple[NDArray[np.uint8], str]]) -> bytes:
    """PNG of the frames at one height, in their own proportions, words below.

    Args:
        pictures: ((H, W, 3) RGB, words) from left to right; at least one.
    """
    frames = [Image.fromarray(image).convert("RGB") for image, _ in pictures]
    scaled = [frame.resize((max(1, round(frame.width * HEIGHT_PX / frame.height)), HEIGHT_PX)) for frame in frames]
    strip = Image.new("RGB", (sum(frame.width + 4 for frame in scaled), HEIGHT_PX + LINE_PX), "white")
    pen, x = ImageDraw.Draw(strip), 0
    for frame, (_, words) in zip(scaled, pictures, strict=True):
        strip.paste(frame, (x, 0))
        pen.text((x + 2, HEIGHT_PX + 3), words, fill="black")
        x += frame.width + 4
    buffer = io.BytesIO()
    strip.save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()
