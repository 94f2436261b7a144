"""What a picture looks like from afar, in 63 bits that another encoding or size hardly changes, and what crops of it look like.

Belongs here: thumbnail -> hashes. Not here: comparing clips by them (`duplicates`).

A perceptual hash: which of the lowest 8 x 8 frequencies of the luma (DCT, without the mean) are positive. A crop moves every
frequency, and its hash lies as far away as another moment's; so the crops that a copy may be are hashed beside the whole. A
mirror turns the sign of every second one: the hash of a mirrored picture is known without it.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

FREQUENCIES = 8
HASH_BITS = FREQUENCIES**2 - 1
WHOLE, INNER = (0.0, 1.0), (0.125, 0.875)
_SPANS = (WHOLE, (0.05, 0.95), (0.0, 0.9), (0.1, 1.0))
CROPS = (
    *((rows, columns) for rows in _SPANS for columns in _SPANS),
    *((WHOLE, INNER), (INNER, WHOLE), (INNER, INNER)),
    *((WHOLE, (0.22, 0.78)), (WHOLE, (0.34, 0.66))),
)
"""What is left of rows and columns: all, or all but a tenth of either; the middle, as where 16:9 becomes 4:3 or is put between
bars; and the square and the upright picture in the middle of a wide one."""
LEAST_CONTRAST = 4.0
"""Standard deviation in grey levels; flatter pictures (black, fog) all look alike."""

Numbers = NDArray[np.float64]
Span = tuple[float, float]


def picture_hash(thumbnail: NDArray[np.float32]) -> int | None:
    """The hash of the whole picture.

    Args:
        thumbnail: luma, of any size from 8 x 8 on.

    Returns:
        None of a picture that is too flat to be known again.
    """
    hashes = _hashes(thumbnail, CROPS[:1])
    return hashes[0] if hashes else None


def crop_hashes(thumbnail: NDArray[np.float32]) -> list[int] | None:
    """The hashes of all `CROPS`, the whole picture first; None as for `picture_hash`."""
    return _hashes(thumbnail, CROPS) or None


def _hashes(thumbnail: NDArray[np.float32], crops: tuple[tuple[Span, Span], ...]) -> list[int]:
    if thumbnail.std() < LEAST_CONTRAST:
        return []
    height, width = thumbnail.shape
    found = []
    for rows, columns in crops:
        low = (_frequencies(height, *rows) @ thumbnail @ _frequencies(width, *columns).T).ravel()[1:]
        found.append(int((low > 0) @ _PLACES))
    return found


_ODD_COLUMNS = np.tile(np.arange(FREQUENCIES) % 2, FREQUENCIES)[1:]
_PLACES = 1 << np.arange(HASH_BITS, dtype=np.int64)
MIRROR = int(_ODD_COLUMNS @ _PLACES)
"""The bits by which the hashes of a picture and of its mirror image differ, and those of their crops in turn."""


@lru_cache
def _frequencies(size: int, first: float, last: float) -> Numbers:
    """(8, size): the lowest frequencies of a row of so many pixels, cut to a share of it and stretched."""
    from scipy.fft import dct  # every command loads this module, few hash a picture

    places = np.clip(size * (first + (last - first) * (np.arange(size) + 0.5) / size) - 0.5, 0, size - 1)
    left = np.minimum(places.astype(int), size - 2)
    stretched = np.zeros((size, size))
    stretched[np.arange(size), left] = 1 - (places - left)
    stretched[np.arange(size), left + 1] += places - left
    return np.asarray(dct(stretched, axis=0, norm="ortho")[:FREQUENCIES], np.float64)
