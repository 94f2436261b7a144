"""HDR and wide-gamut pictures as an SDR screen of BT.709 shows them.

Belongs here: code values -> 8-bit RGB. Not here: decoding, turning, scaling (`shown`). The wheels of PyAV hold no zscale, and
swscale takes seconds to build its table: a picture is mapped directly, by two tables and a matrix.
"""

from functools import lru_cache

import numpy as np
from av.video.reformatter import ColorPrimaries, ColorTrc
from numpy.typing import NDArray

HDR_TRANSFERS = frozenset({int(ColorTrc.SMPTE2084), int(ColorTrc.ARIB_STD_B67)})
SDR_WHITE_NITS = 203.0
"""Reference white in an HDR picture (ITU-R BT.2408)."""
PEAK_NITS = 1000.0
"""The mastering peak that highlights are folded from: the nominal one of HLG, the usual one of HDR10."""
KNEE = 0.8
"""Share of SDR white up to which light is shown as it is; what is brighter is folded into the rest."""
SCREEN_GAMMA = 2.2

# Linear RGB to linear RGB of BT.709, both with the white of D65 (DCI-P3's own white is taken as that, too).
_BT2020 = np.array([[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]], np.float32)
_P3 = np.array([[1.2249, -0.2247, -0.0002], [-0.0420, 1.0419, 0.0001], [-0.0197, -0.0786, 1.0983]], np.float32)
TO_BT709 = {int(ColorPrimaries.BT2020): _BT2020, int(ColorPrimaries.SMPTE431): _P3, int(ColorPrimaries.SMPTE432): _P3}
_HLG_SYSTEM_GAMMA = 1.2
_LUMA_BT2020 = np.array([0.2627, 0.6780, 0.0593], np.float32)


def needs_mapping(transfer: int, primaries: int) -> bool:
    """Whether an SDR screen of BT.709 would show code values of these tags wrongly; tags are FFmpeg's numbers."""
    return transfer in HDR_TRANSFERS or primaries in TO_BT709


def to_sdr(code: NDArray[np.uint16], transfer: int, primaries: int) -> NDArray[np.uint8]:
    """The picture for an SDR screen.

    Args:
        code: (H, W, 3) R'G'B', full range of 16 bits.
        transfer, primaries: FFmpeg's numbers of what the code values mean.

    Returns:
        (H, W, 3), R'G'B' of BT.709.
    """
    light = _light_of_code(transfer)[np.moveaxis(code, 2, 0).reshape(3, -1)]  # (3, pixels): channels apart are twice as fast
    if transfer == ColorTrc.ARIB_STD_B67:
        light *= np.power(_LUMA_BT2020 @ light, _HLG_SYSTEM_GAMMA - 1) * np.float32(PEAK_NITS / SDR_WHITE_NITS)
    if primaries in TO_BT709:
        light = TO_BT709[primaries] @ light
    if transfer in HDR_TRANSFERS:
        _fold(light)
    sent = (np.clip(light, 0, 1, out=light) * np.float32(65535)).astype(np.uint16)
    return np.ascontiguousarray(np.moveaxis(_code_of_light()[sent].reshape(3, *code.shape[:2]), 0, 2))


def _fold(light: NDArray[np.float32]) -> None:
    """Dims bright pixels of `light`, (3, pixels), in place, so that `PEAK_NITS` meets white: a shoulder without a kink.

    One factor for a pixel's three channels: colours keep their hue.
    """
    brightest = np.maximum(np.maximum(light[0], light[1]), light[2])
    bright = np.flatnonzero(brightest > KNEE)
    above = (brightest[bright] - KNEE) / (1 - KNEE)
    peak = (PEAK_NITS / SDR_WHITE_NITS - KNEE) / (1 - KNEE)
    light[:, bright] *= (KNEE + (1 - KNEE) * above * (1 + above / peak**2) / (1 + above)) / brightest[bright]


@lru_cache(maxsize=4)
def _light_of_code(transfer: int) -> NDArray[np.float32]:
    """(65536,) light of every code value: in units of SDR white; for HLG that of the scene, 0 to 1."""
    code = np.arange(65536) / 65535
    if transfer == ColorTrc.SMPTE2084:
        root = code ** (1 / 78.84375)
        light = (np.maximum(root - 0.8359375, 0) / (18.8515625 - 18.6875 * root)) ** (1 / 0.1593017578125)
        return np.asarray(light * 10_000 / SDR_WHITE_NITS, np.float32)
    if transfer == ColorTrc.ARIB_STD_B67:
        a, b, c = 0.17883277, 0.28466892, 0.55991073
        return np.asarray(np.where(code <= 0.5, code**2 / 3, (np.exp((code - c) / a) + b) / 12), np.float32)
    return np.asarray(code**SCREEN_GAMMA, np.float32)


@lru_cache(maxsize=1)
def _code_of_light() -> NDArray[np.uint8]:
    """(65536,) what the screen is sent for every amount of light from none to white."""
    return np.round(255 * (np.arange(65536) / 65535) ** (1 / SCREEN_GAMMA)).astype(np.uint8)
