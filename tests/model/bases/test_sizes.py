"""Sizes are refused, never rounded; the message names the nearest that works."""

import pytest

from model.bases.sizes import SizeError, check_size, size_for_image

_TINY = {"multiple_px": 8, "temporal_factor": 1, "positions": 128}
_WAN = {"multiple_px": 16, "temporal_factor": 4, "positions": 1024}


def test_legal_sizes_pass() -> None:
    check_size(64, 48, 9, **_TINY)
    check_size(480, 832, 81, **_WAN)
    check_size(16, 16, 1, **_WAN)


@pytest.mark.parametrize(
    ("height", "width", "frames", "limits", "nearest"),
    [
        (62, 64, 9, _TINY, "64 x 64"),
        (64, 3, 9, _TINY, "64 x 8"),
        (4096, 64, 9, _TINY, "1024 x 64"),
        (0, 64, 9, _TINY, "8 x 64"),
        (480, 832, 80, _WAN, "81"),
        (480, 832, 0, _WAN, "1"),
        (64, 64, 500, _TINY, "128"),
    ],
)
def test_illegal_sizes_name_the_nearest(height: int, width: int, frames: int, limits: dict[str, int], nearest: str) -> None:
    with pytest.raises(SizeError, match=rf"{nearest}$"):
        check_size(height, width, frames, **limits)


def test_a_pictures_aspect_is_kept_at_the_trained_area() -> None:
    assert size_for_image(512, 512, 64 * 64, 8) == (64, 64)
    assert size_for_image(606, 512, 64 * 64, 8) == (72, 56)
    assert size_for_image(100, 10000, 64 * 64, 8) == (8, 640)
