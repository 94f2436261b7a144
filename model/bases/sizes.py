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
    return max(1, round(height / multiple_px)) * multiple_px, max(1, round(width / multiple_px)) * multiple_px


def other_side(side: int, given_side: int, given_other: int, multiple_px: int) -> int:
    """The legal length of the other side of a video whose one side is `side`, nearest to the aspect of a given size."""
    return max(1, round(side * given_other / given_side / multiple_px)) * multiple_px


def check_size(height: int, width: int, frames: int, *, multiple_px: int, temporal_factor: int, positions: int) -> None:
    """Passes legal sizes.

    Args:
        height, width: pixels; multiples of `multiple_px`.
        frames: 1 + a multiple of `temporal_factor`.
        multiple_px: what one token spans.
        temporal_factor: frames a latent frame holds.
        positions: tokens along one axis that the transformer has positions for.

    Raises:
        SizeError: a side or the number of frames is none of these.
    """
    legal = tuple(_nearest_multiple(side, multiple_px, positions) for side in (height, width))
    if legal != (height, width):
        raise SizeError(
            f"{height} x {width} (height x width) cannot be drawn: sides are multiples of {multiple_px} up to "
            f"{multiple_px * positions}, the nearest are {legal[0]} x {legal[1]}"
        )
    latent_frames = min(max(round((frames - 1) / temporal_factor), 0), positions - 1)
    if frames != 1 + latent_frames * temporal_factor:
        raise SizeError(f"{frames} frames cannot be drawn: the nearest number is {1 + latent_frames * temporal_factor}")


def _nearest_multiple(side: float, multiple: int, most: int) -> int:
    return multiple * min(max(round(side / multiple), 1), most)
