"""What moves behind the people: a blurred, slowly panning room of coloured surfaces and lights.

Belongs here: backgrounds without people. Nothing in them has sharp edges, so that no detector takes them for a face.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_MARGIN = 0.25
"""How far the picture reaches beyond the frame on each side, as a share of the frame."""


@dataclass(frozen=True, eq=False)
class Backdrop:
    """A picture larger than the frame, over which the frame pans.

    Attributes:
        picture: (height, width, 3) RGB.
        size: width, height of the frame in pixels.
    """

    picture: NDArray[np.uint8]
    size: tuple[int, int]

    def at(self, time_s: float) -> NDArray[np.uint8]:
        """(height, width, 3) RGB at a time: one slow ellipse in eight seconds."""
        import cv2

        height, width = self.picture.shape[:2]
        angle = 2 * np.pi * time_s / 8
        centre = (
            (width - 1) / 2 + 0.8 * _MARGIN * self.size[0] * np.cos(angle),
            (height - 1) / 2 + 0.8 * _MARGIN * self.size[1] * np.sin(angle),
        )
        return np.asarray(cv2.getRectSubPix(self.picture, self.size, centre), np.uint8)


def make_backdrop(size: tuple[int, int], seed: int) -> Backdrop:
    """A backdrop for frames of `size` (width, height); another room for each seed."""
    import cv2

    rng = np.random.default_rng(seed)
    width, height = (round(side * (1 + 2 * _MARGIN)) for side in size)
    wall = rng.integers(80, 150) + rng.integers(-20, 20, 3)
    walls = (wall + rng.integers(-25, 25, (4, 6, 3))).astype(np.uint8)
    picture = cv2.resize(walls, (width, height), interpolation=cv2.INTER_CUBIC)
    for _ in range(9):
        x, tall = int(rng.integers(0, width)), int(rng.integers(height // 4, height))
        colour = [int(c) for c in wall * rng.uniform(0.4, 1.2) + rng.integers(-25, 25, 3)]
        cv2.rectangle(picture, (x, height - tall), (x + int(rng.integers(12, width // 8)), height), colour, -1)
    for _ in range(14):
        centre = int(rng.integers(0, width)), int(rng.integers(0, height * 2 // 3))
        light = np.zeros_like(picture)
        cv2.circle(light, centre, int(rng.integers(6, 22)), [int(c) for c in rng.uniform(0.3, 0.9) * np.array((110, 95, 70))], -1)
        picture = cv2.add(picture, light)
    return Backdrop(np.asarray(cv2.GaussianBlur(picture, (0, 0), 6), np.uint8), size)
