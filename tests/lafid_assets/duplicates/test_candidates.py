"""Clips with like pictures meet, others do not."""

import polars as pl
import pytest

from lafid_assets.duplicates.candidates import PART_BITS, find_candidates
from lafid_assets.duplicates.comparison import MOST_BITS_APART
from lafid_assets.pictures.picture_hash import MIRROR

BASE = 0x5A5A5A5A5A5A5A5A & (2**63 - 1)
OTHER = BASE ^ (2**63 - 1)
FEW = (1 << MOST_BITS_APART // 2) - 1
"""Bits of one part."""


def _looks(*clips: tuple[list[int], list[int], bool]) -> pl.DataFrame:
    """Clips as hashes of the frames, of which as many have the crops that are named (after the whole), and whether it is new."""
    rows = [
        {"clip": clip, "moment": moment, "picture_hash": whole, "is_new": is_new}
        | {"crop_hashes": [whole, crops[moment]] if moment < len(crops) else None}
        for clip, (wholes, crops, is_new) in enumerate(clips)
        for moment, whole in enumerate(wholes)
    ]
    return pl.DataFrame(rows, schema_overrides={"crop_hashes": pl.List(pl.Int64)})


@pytest.mark.parametrize(
    ("second", "meet"),
    [
        (([BASE, BASE], [BASE, BASE], True), [False]),
        (([BASE ^ FEW, BASE ^ FEW], [], True), [False]),
        (([OTHER, OTHER], [OTHER, OTHER], True), []),
        (([OTHER, OTHER], [BASE, BASE], True), [False]),
        (([OTHER, OTHER], [BASE, OTHER], True), []),
        (([BASE, BASE], [BASE, BASE], False), []),
        (([BASE ^ MIRROR ^ FEW] * 2, [], True), [True]),
        (([OTHER, OTHER], [BASE ^ MIRROR] * 2, True), [True]),
        (([OTHER, OTHER], [BASE, BASE ^ MIRROR], True), []),
        (([BASE, BASE, BASE ^ MIRROR, BASE ^ MIRROR], [], True), [False, True]),
    ],
    ids=[
        *("alike", "nearly", "unlike", "its crops are alike", "one moment alone", "both are known", "nearly, in a mirror"),
        *("its crops are alike in a mirror", "one moment each way", "both ways"),
    ],
)
def test_pairs_meet_by_pictures_or_crops_at_two_moments(second: tuple[list[int], list[int], bool], meet: list[bool]) -> None:
    found = find_candidates(_looks(([BASE, BASE, BASE], [BASE, BASE ^ FEW], False), second))
    assert found.sort("mirrored").rows() == [(0, 1, mirrored) for mirrored in meet]


def test_hashes_that_share_a_part_and_nothing_else_do_not_meet() -> None:
    part = (1 << PART_BITS) - 1
    stranger = (OTHER & ~part) | (BASE & part)
    assert find_candidates(_looks(([BASE, BASE], [BASE, BASE], True), ([stranger] * 2, [stranger] * 2, True))).is_empty()
