"""Pictures are known again after another encoding, size or crop; others are told apart."""

import cv2
import numpy as np
import pytest

from lafid_assets.pictures.grey import thumbnail
from lafid_assets.pictures.picture_hash import CROPS, MIRROR, crop_hashes, picture_hash


def _picture(seed: int) -> np.ndarray:
    rough = np.random.default_rng(seed).uniform(0, 255, (9, 16, 3)).astype(np.float32)
    return cv2.resize(rough, (640, 360), interpolation=cv2.INTER_CUBIC).clip(0, 255).astype(np.uint8)


def _apart(a: int | None, b: int | None) -> int:
    assert a is not None
    assert b is not None
    return (a ^ b).bit_count()


def test_another_size_is_the_same_picture_and_another_picture_is_not() -> None:
    picture = _picture(0)
    whole = picture_hash(thumbnail(picture))
    noisy = cv2.resize(picture, (200, 112), interpolation=cv2.INTER_AREA)
    noisy = (noisy + np.random.default_rng(1).normal(0, 4, noisy.shape)).clip(0, 255).astype(np.uint8)
    assert _apart(whole, picture_hash(thumbnail(noisy))) <= 4
    assert min(_apart(whole, picture_hash(thumbnail(_picture(seed)))) for seed in range(1, 20)) > 14


@pytest.mark.parametrize(("rows", "columns"), CROPS)
def test_a_crop_is_among_the_crops_of_its_original(rows: tuple[float, float], columns: tuple[float, float]) -> None:
    picture = _picture(0)
    cut = picture[round(360 * rows[0]) : round(360 * rows[1]), round(640 * columns[0]) : round(640 * columns[1])]
    crops = crop_hashes(thumbnail(picture))
    assert crops is not None
    assert crops[0] == picture_hash(thumbnail(picture))
    apart = [_apart(picture_hash(thumbnail(np.ascontiguousarray(cut))), crop) for crop in crops]
    assert apart.index(min(apart)) == CROPS.index((rows, columns))
    assert min(apart) <= 6


@pytest.mark.parametrize("share", [0.1, 0.12, 0.14])
@pytest.mark.parametrize("sides", [(True, False), (False, True), (True, True)], ids=["rows", "columns", "both"])
def test_crops_of_both_sides_and_bars_are_known(sides: tuple[bool, bool], share: float) -> None:
    """Between a tenth and a seventh off each side, or black bars of as much put onto it."""
    picture = _picture(0)
    rows, columns = (round(share * size) if is_cut else 0 for size, is_cut in zip(picture.shape, sides, strict=False))
    cut = np.ascontiguousarray(picture[rows : 360 - rows, columns : 640 - columns])
    barred = np.pad(cv2.resize(cut, (640 - 2 * columns, 360 - 2 * rows)), ((rows, rows), (columns, columns), (0, 0)))
    whole, crops = picture_hash(thumbnail(picture)), crop_hashes(thumbnail(picture))
    of_cut = picture_hash(thumbnail(cut))
    assert min(_apart(of_cut, crop) for crop in crops or ()) <= 10
    assert min(_apart(of_cut, crop) for crop in crop_hashes(thumbnail(barred)) or ()) <= 10, "bars that were cut off"
    assert whole is not None


def test_the_hash_of_a_mirrored_picture_is_known_without_it() -> None:
    small = thumbnail(_picture(0))
    mirrored = np.ascontiguousarray(small[:, ::-1])
    assert picture_hash(mirrored) == (picture_hash(small) or 0) ^ MIRROR
    crops, of_mirrored = crop_hashes(small), crop_hashes(mirrored)
    assert crops is not None
    assert of_mirrored is not None
    assert min(_apart(of_mirrored[3], crop ^ MIRROR) for crop in crops) <= 1, "a crop of the one is one of the other"


def test_a_flat_picture_has_no_hash() -> None:
    flat = np.full((18, 32), 16, np.float32)
    assert picture_hash(flat) is None
    assert crop_hashes(flat) is None
