"""Which video sizes a base can draw, and the nearest ones to what was asked.

Belongs here: the arithmetic of multiples. diffusers rounds down with a warning; a model that answers with another size than
asked is refused here instead.
"""

import math


class SizeError(ValueError):
    """A size the base cannot draw; the message names the nearest it can."""


def size_for_image(image_height: int, image_width: int, area_px: int, multiple_px: int) -> tuple[int, int]:
    """The legal (height, width) of about `area_px` pixels that is nearest to the picture's aspect."""
    aspect = image_height / image_width
    height, width = math.sqrt(area_px * aspect), math.sqrt(area_px / aspect)
    return _nearest(height, multiple_px), _nearest(width, multiple_px)


def check_size(height: int, width: int, frames: int, *, multiple_px: int, temporal_factor: int) -> None:
    """Passes legal sizes.

    Raises:
        SizeError: height or width is no positive multiple, or frames is not 1 + a multiple of the temporal factor.
    """
    if height < 1 or width < 1 or height % multiple_px or width % multiple_px:
        nearest = f"{_nearest(height, multiple_px)} x {_nearest(width, multiple_px)}"
        raise SizeError(f"{height} x {width} (height x width) is no multiple of {multiple_px}: the nearest is {nearest}")
    if frames < 1 or (frames - 1) % temporal_factor:
        nearest_frames = 1 + temporal_factor * max(0, round((frames - 1) / temporal_factor))
        raise SizeError(f"{frames} frames cannot be drawn: the nearest number is {nearest_frames}")


def _nearest(side: float, multiple: int) -> int:
    return max(multiple, round(side / multiple) * multiple)
