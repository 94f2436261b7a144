"""Clips with like pictures meet, others do not."""

import polars as pl
import pytest

from lafid_assets.duplicates.candidates import MOST_BITS_APART, PART_BITS, find_candidates

BASE = 0x5A5A5A5A5A5A5A5A & (2**63 - 1)
OTHER = BASE ^ (2**63 - 1)
FEW = (1 << MOST_BITS_APART // 2) - 1
"""Bits of one part."""


def _looks(*clips: tuple[list[int | None], list[int], bool]) -> pl.DataFrame:
    """Clips as hashes of the frames, of which as many have the crops that are named (after the whole), and whether it is new."""
    rows = [
        {"clip": clip, "moment": moment, "picture_hash": whole, "is_new": is_new}
        | {"crop_hashes": [whole, crops[moment]] if moment < len(crops) and whole is not None else None}
        for clip, (wholes, crops, is_new) in enumerate(clips)
        for moment, whole in enumerate(wholes)
    ]
    return pl.DataFrame(rows, schema_overrides={"crop_hashes": pl.List(pl.Int64), "picture_hash": pl.Int64})


@pytest.mark.parametrize(
    ("second", "meet"),
    [
        (([BASE, BASE], [BASE, BASE], True), True),
        (([BASE ^ FEW, BASE ^ FEW], [], True), True),
        (([OTHER, OTHER], [OTHER, OTHER], True), False),
        (([OTHER, OTHER], [BASE, BASE], True), True),
        (([OTHER, OTHER], [BASE, OTHER], True), False),
        (([BASE, BASE], [BASE, BASE], False), False),
    ],
    ids=["alike", "nearly", "unlike", "its crops are alike", "one moment alone", "both are known"],
)
def test_pairs_meet_by_pictures_or_crops_at_two_moments(second: tuple[list[int | None], list[int], bool], meet: bool) -> None:
    found = find_candidates(_looks(([BASE, BASE], [BASE, BASE], False), second))
    assert found.rows() == ([(0, 1)] if meet else [])


def test_hashes_that_share_a_part_and_nothing_else_do_not_meet() -> None:
    part = (1 << PART_BITS) - 1
    stranger = (OTHER & ~part) | (BASE & part)
    assert find_candidates(_looks(([BASE, BASE], [BASE, BASE], True), ([stranger] * 2, [stranger] * 2, True))).is_empty()


def test_flat_pictures_meet_nobody() -> None:
    assert find_candidates(_looks(([None, None], [], True), ([None, None], [], True))).is_empty()
