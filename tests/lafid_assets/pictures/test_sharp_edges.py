"""CPBD: its figures on edges whose width is known, and on pictures that are blurred more and more."""

import cv2
import numpy as np
import pytest

from lafid_assets.pictures.sharp_edges import sharp_edge_share


def _edge(*steps: int) -> np.ndarray:
    """A block with one upright edge that rises by so many grey levels from pixel to pixel."""
    row = np.concatenate([np.full(30, 100), 100 + np.cumsum(steps), np.full(34 - len(steps), 100 + sum(steps))])
    return np.tile(row.astype(np.uint8), (64, 1))


@pytest.mark.parametrize(
    ("steps", "sharp"),
    [((70, 50), True), ((20, 60, 40), True), ((10, 60, 40, 10), False), ((5, 8, 15, 9, 3), True), ((3, 5, 15, 9, 5, 3), False)],
)
def test_an_edge_is_sharp_up_to_the_width_that_is_just_noticeable(steps: tuple[int, ...], sharp: bool) -> None:
    """Three pixels, in blocks of little contrast five; falling edges as rising ones."""
    picture = _edge(*steps)
    assert sharp_edge_share(picture) == sharp_edge_share(picture[:, ::-1]) == float(sharp)


def test_more_blur_is_less_sharp() -> None:
    noise = np.random.default_rng(0).integers(0, 255, (48, 80)).astype(np.uint8)
    picture = cv2.resize(noise, (640, 384), interpolation=cv2.INTER_NEAREST)
    shares = [sharp_edge_share(cv2.GaussianBlur(picture, (0, 0), sigma)) for sigma in (0.3, 1.0, 1.5, 3.0)]
    assert shares == sorted(shares, reverse=True)
    assert shares[0] > 0.9
    assert shares[-1] < 0.1


def test_nothing_is_said_of_smooth_pictures_and_of_tiny_ones() -> None:
    assert sharp_edge_share(np.full((128, 128), 90, np.uint8)) is None
    assert sharp_edge_share(_edge(70, 50)[:40]) is None
