"""A version changes exactly when something that training depends on has changed."""

from typing import Any

import polars as pl
import pytest

from lafid_assets.dataset.versions import dataset_version

ROWS = [
    {
        "clip_id": clip,
        "content_sha256": f"sha-{clip}",
        "refined_caption": "text",
        "speaking_status": "silent",
        "split": "train",
        "licence": "CC",
        "engine": "dlib",
        "engine_version": "1",
        "identity_id": person,
        "references": [{"frame_index": 3, "sharpness": 1.5}],
        "path": f"clips/{clip}",
        "clip_root": "/here",
        "pose_variation_deg": 50.0,
        "identity_embedding": [1.0],
    }
    for clip, person in (("a", "p"), ("b", "p"), ("c", "q"))
]
RULES = {"pose_filtered_clips": "cofe"}


def _version(*changes: dict[str, Any], rules: dict[str, str] | None = None, rows: list[dict[str, Any]] | None = None) -> str:
    changed = [dict(row) for row in rows or ROWS]
    for row, change in zip(changed, changes, strict=False):
        row |= change
    return dataset_version(pl.DataFrame(changed), rules or RULES)


def test_version_is_short_and_the_same_every_time() -> None:
    assert _version() == _version()
    assert len(_version()) == 16
    assert int(_version(), 16) >= 0


VERSIONED = (
    "content_sha256",
    "refined_caption",
    "speaking_status",
    "split",
    "licence",
    "engine",
    "engine_version",
)


@pytest.mark.parametrize("column", VERSIONED)
def test_every_versioned_column_counts(column: str) -> None:
    assert _version({column: "other"}) != _version()


@pytest.mark.parametrize(
    "change",
    [
        {"clip_id": "z"},
        {"identity_id": "q"},
        {"references": [{"frame_index": 4, "sharpness": 1.5}]},
        {"references": [{"frame_index": 3, "sharpness": 1.5}, {"frame_index": 9, "sharpness": 1.5}]},
        {"refined_caption": None},
    ],
    ids=str,
)
def test_clips_persons_and_reference_frames_count(change: dict[str, Any]) -> None:
    assert _version(change) != _version()


@pytest.mark.parametrize(
    "change",
    [
        {"path": "elsewhere"},
        {"clip_root": "/there"},
        {"pose_variation_deg": 50.0001},
        {"identity_embedding": [0.999999]},
        {"references": [{"frame_index": 3, "sharpness": 1.50001}]},
    ],
    ids=str,
)
def test_addresses_and_last_bits_of_scores_do_not_count(change: dict[str, Any]) -> None:
    assert _version(change) == _version()


def test_names_of_persons_do_not_count_but_who_is_who_does() -> None:
    assert _version(*[{"identity_id": name} for name in ("x", "x", "y")]) == _version()
    assert _version(*[{"identity_id": name} for name in ("x", "y", "y")]) != _version()


def test_order_of_rows_does_not_count() -> None:
    assert _version(rows=ROWS[::-1]) == _version()


def test_fewer_clips_and_other_rules_count() -> None:
    assert _version(rows=ROWS[:2]) != _version()
    assert _version(rules={"pose_filtered_clips": "strict"}) != _version()
