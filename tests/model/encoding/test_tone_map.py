"""HDR and wide gamut on an SDR screen: what was SDR comes out as it was, highlights are folded and keep their hue."""

import numpy as np
import pytest
from numpy.typing import NDArray

from model.encoding.tone_map import needs_mapping, to_sdr

PQ, HLG, BT709 = 16, 18, 1
WIDE, P3 = 9, 12
# Linear RGB of BT.709 to that of BT.2020 (ITU-R BT.2087).
TO_WIDE = np.array([[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]])


def _pq(nits: NDArray[np.float64]) -> NDArray[np.uint16]:
    y = (nits / 10_000) ** 0.1593017578125
    return np.round(((0.8359375 + 18.8515625 * y) / (1 + 18.6875 * y)) ** 78.84375 * 65535).astype(np.uint16)


def _hlg(nits: NDArray[np.float64]) -> NDArray[np.uint16]:
    luma = (nits @ np.array([0.2627, 0.6780, 0.0593]))[..., None] / 1000
    scene = nits / 1000 * np.maximum(luma, 1e-9) ** (1 / 1.2 - 1)
    low, high = np.sqrt(3 * scene), 0.17883277 * np.log(np.maximum(12 * scene - 0.28466892, 1e-9)) + 0.55991073
    return np.round(np.where(scene <= 1 / 12, low, high) * 65535).astype(np.uint16)


def _graded(sdr: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Light in nits of BT.2020 that shows an SDR picture with its white at 203 nits."""
    return (sdr / 255) ** 2.2 @ TO_WIDE.T * 203


@pytest.fixture
def colours() -> NDArray[np.uint8]:
    """(1, 500, 3): every colour that is not nearly white."""
    return np.random.default_rng(0).integers(0, 220, (1, 500, 3)).astype(np.uint8)


@pytest.mark.parametrize(("transfer", "encode"), [(PQ, _pq), (HLG, _hlg)])
def test_an_sdr_picture_in_an_hdr_film_comes_out_as_it_was(colours: NDArray[np.uint8], transfer: int, encode: object) -> None:
    shown = to_sdr(encode(_graded(colours)), transfer, WIDE)  # type: ignore[operator]
    assert shown.dtype == np.uint8
    assert np.abs(shown.astype(int) - colours).mean() < 1
    assert np.abs(shown.astype(int) - colours).max() <= 6


def test_highlights_are_folded_in_order_up_to_the_peak() -> None:
    greys = np.repeat(np.array([100.0, 162.0, 203.0, 400.0, 700.0, 1000.0, 4000.0])[None, :, None], 3, axis=2)
    shown = to_sdr(_pq(greys), PQ, WIDE)[0, :, 0].tolist()
    assert shown == [*sorted(set(shown[:-1])), 255]
    assert shown[-2:] == [255, 255]
    assert 225 < shown[1] < shown[2] < 250


def test_a_bright_colour_keeps_its_hue() -> None:
    dim, bright = to_sdr(_pq(np.array([[[60.0, 30.0, 15.0], [600.0, 300.0, 150.0]]])), PQ, BT709)[0] / 255
    assert (bright**2.2)[1:] / (bright**2.2)[0] == pytest.approx((dim**2.2)[1:] / (dim**2.2)[0], abs=0.02)


def test_wide_gamut_without_hdr_keeps_grey_and_gains_colour() -> None:
    code = np.array([[[30000, 30000, 30000], [40000, 20000, 20000]]], np.uint16)
    grey, red = to_sdr(code, BT709, P3)[0].astype(int)
    assert grey.tolist() == pytest.approx([30000 / 257] * 3, abs=1)
    assert red[0] > 40000 / 257 + 4
    assert red[1] < 20000 / 257 - 4


@pytest.mark.parametrize(
    ("transfer", "primaries", "needed"), [(PQ, BT709, True), (HLG, 2, True), (BT709, WIDE, True), (2, 2, False), (6, 6, False)]
)
def test_only_what_an_sdr_screen_would_show_wrongly_is_mapped(transfer: int, primaries: int, needed: bool) -> None:
    assert needs_mapping(transfer, primaries) == needed
