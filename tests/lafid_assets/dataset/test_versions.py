"""A version changes exactly when something that training depends on has changed."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from lafid_assets.dataset.funnel import read_outcomes
from lafid_assets.dataset.lafid_dataset import Dataset
from lafid_assets.dataset.versions import (
    VersionUnknown,
    dataset_version,
    endings_at,
    find_version,
    known_versions,
    rules_of,
    standing_version,
    version_before,
)
from lafid_assets.schemas import DATASET_OUTCOMES, DATASET_VERSIONS
from resources.lake.lake import Lake
from resources.lake.reader import Reader

Tables = dict[str, pl.DataFrame]
Keep = Callable[[Tables], Dataset]

ROWS = [
    {
        "clip_id": clip,
        "content_sha256": f"sha-{clip}",
        "refined_caption": "text",
        "speaking_status": "silent",
        "split": "train",
        "window_start_s": 1.0,
        "window_end_s": 6.0,
        "licence": "CC",
        "gate": "open",
        "engine": "dlib",
        "engine_version": "1",
        "identity_id": person,
        "references": [{"frame_index": 3, "face_index": 0, "sharpness": 1.5}],
        "cross_references": [{"clip_id": "z", "reference_index": 1}],
        "path": f"clips/{clip}",
        "clip_root": "/here",
        "pose_variation_deg": 50.0,
        "identity_embedding": [1.0],
    }
    for clip, person in (("a", "p"), ("b", "p"), ("c", "q"))
]
RULES = {"pose_filtered_clips": {"policy": ["cofe"]}}


def _version(
    *changes: dict[str, Any],
    rules: dict[str, Any] | None = None,
    rows: list[dict[str, Any]] | None = None,
    ended: str = "kept   4",
) -> str:
    changed = [dict(row) for row in rows or ROWS]
    for row, change in zip(changed, changes, strict=False):
        row |= change
    return dataset_version(pl.DataFrame(changed), ended, rules or RULES)


def test_version_is_short_and_the_same_every_time() -> None:
    assert _version() == _version()
    assert len(_version()) == 16
    assert int(_version(), 16) >= 0


VERSIONED = ("content_sha256", "refined_caption", "speaking_status", "split", "licence", "gate", "engine", "engine_version")


@pytest.mark.parametrize("column", VERSIONED)
def test_every_versioned_column_counts(column: str) -> None:
    assert _version({column: "other"}) != _version()


@pytest.mark.parametrize(
    "change",
    [
        {"clip_id": "z"},
        {"identity_id": "q"},
        {"references": [{"frame_index": 4, "face_index": 0, "sharpness": 1.5}]},
        {"references": [{"frame_index": 3, "face_index": 1, "sharpness": 1.5}]},
        {"references": [{"frame_index": frame, "face_index": 0, "sharpness": 1.5} for frame in (3, 9)]},
        {"cross_references": [{"clip_id": "z", "reference_index": 2}]},
        {"cross_references": []},
        {"refined_caption": None},
        {"window_start_s": 1.25},
        {"window_end_s": 6.25},
        {"window_start_s": None, "window_end_s": None},
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
        {"references": [{"frame_index": 3, "face_index": 0, "sharpness": 1.50001}]},
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
    assert _version(rules={"pose_filtered_clips": {"policy": ["strict"]}}) != _version()


def test_decisions_about_rejected_clips_count() -> None:
    """The funnel belongs to the version."""
    assert _version(ended="kept   3;rejected pose_filtered_clips no_face 1") != _version()


def test_rules_are_policies_and_models_of_clips_that_were_measured(
    curated: Callable[..., Tables], reader_of: Callable[[Tables], Reader], tmp_path: Path
) -> None:
    tables = curated({"a": "p", "b": None, "c": "q"})
    failed = pl.col("clip_id") == "c"
    tables["face_clips"] = tables["face_clips"].with_columns(
        status=pl.when(failed).then(pl.lit("error")).otherwise("status"),
        reason=pl.when(failed).then(pl.lit("crashed")).otherwise("reason"),
        fingerprint=pl.when(failed).then(pl.lit("limits")).otherwise("fingerprint"),
    )
    reader = reader_of(tables)
    rules = rules_of(reader, read_outcomes(reader, tmp_path))
    assert rules["face_clips"] == {"fingerprint": ["f"]}
    assert rules["pose_filtered_clips"] == {"policy": ["cofe"], "policy_sha256": ["cofe-sha"]}
    assert rules["reference_crops"] == {"mask": ["oval"], "mask_sha256": []}
    assert rules["speech_info"] == {"transcriber": []}
    assert "identity_clusters" not in rules


def test_every_version_is_kept_with_rows_and_funnel(lake: Lake, keep: Keep, curated: Callable[..., Tables]) -> None:
    first, second = (keep(curated(persons)).version.name for persons in ({"a": "p", "b": "p"}, {"a": "p", "b": None}))
    assert keep(curated({"a": "p", "b": "p"})).version.name == first, "the same inputs give the same version"
    known = known_versions(lake)
    assert DATASET_VERSIONS.violations(DATASET_VERSIONS.frame(known)) == []
    assert known["dataset_version"].to_list() == [first, second]
    rows = lake.sql("SELECT dataset_version, clip_id FROM dataset_version_rows ORDER BY ALL").rows()
    assert rows == sorted([(first, "a"), (first, "b"), (second, "a")])
    facts = find_version(lake, second)
    assert (facts["clips"], facts["clips_in"], facts["erased_clips"]) == (1, 2, 0)
    assert [(count["status"], count["clips"]) for count in facts["funnel"]] == [("kept", 1), ("rejected", 1)]


def test_outcomes_are_a_log_of_what_changed(lake: Lake, keep: Keep, curated: Callable[..., Tables]) -> None:
    """A clip that ends as before has no new row, one that is gone has a row that says so, and may come back."""
    versions = [{"a": "p", "b": "q", "c": None}, {"a": "p", "b": None, "c": None}, {"a": "p", "c": None}, {"a": "p", "b": "q"}]
    for persons in versions:
        keep(curated(persons))
    assert lake.read(DATASET_OUTCOMES.name).rows() == [
        ("a", 1, "kept", "", ""),
        ("b", 1, "kept", "", ""),
        ("b", 2, "rejected", "pose_filtered_clips", "no_face"),
        ("b", 3, None, None, None),
        ("b", 4, "kept", "", ""),
        ("c", 1, "rejected", "pose_filtered_clips", "no_face"),
        ("c", 4, None, None, None),
    ]
    with lake.snapshot() as reader:
        then = [endings_at(reader, facts, ["a", "b", "c", "z"]) for facts in known_versions(reader).iter_rows(named=True)]
    no_face = ("rejected", "pose_filtered_clips", "no_face")
    kept = ("kept", "", "")
    assert then == [
        {"a": kept, "b": kept, "c": no_face},
        {"a": kept, "b": no_face, "c": no_face},
        {"a": kept, "c": no_face},
        {"a": kept, "b": kept},
    ]


def test_version_outlasts_the_snapshot_that_it_read(lake: Lake, keep: Keep, curated: Callable[..., Tables]) -> None:
    name = keep(curated({"a": "p", "b": "q"})).version.name
    keep(curated({"a": "p"}))
    lake.commit(lambda reader: reader.cursor.execute(f"CALL ducklake_expire_snapshots('{reader.name}', older_than => now())"))
    assert lake.sql("SELECT clip_id FROM dataset_version_rows WHERE dataset_version = ?", [name]).height == 2


def test_versions_are_found_by_their_beginning(lake: Lake, keep: Keep, curated: Callable[..., Tables]) -> None:
    with pytest.raises(VersionUnknown, match="there are none yet: run `lafid curate DIR` first"):
        find_version(lake, "latest")
    first, second = (keep(curated(persons)).version.name for persons in ({"a": "p"}, {"a": "p", "b": "q"}))
    assert find_version(lake, first[:10])["dataset_version"] == first
    assert find_version(lake, "latest")["dataset_version"] == second
    with pytest.raises(VersionUnknown, match=f"no version begins with 'zz': there are .*{first}"):
        find_version(lake, "zz")
    with pytest.raises(VersionUnknown, match="several versions begin with ''"):
        find_version(lake, "")


def test_an_empty_dataset_is_a_version_too(lake: Lake, keep: Keep, curated: Callable[..., Tables]) -> None:
    assert find_version(lake, keep(curated({"a": None})).version.name)["clips"] == 0


def test_a_version_that_comes_back_is_the_one_that_stands(lake: Lake, keep: Keep, curated: Callable[..., Tables]) -> None:
    first, second, again = (keep(curated(persons)).version.name for persons in ({"a": "p"}, {"a": "p", "b": "q"}, {"a": "p"}))
    assert (find_version(lake, "latest")["dataset_version"], again) == (second, first)
    assert standing_version(lake)["dataset_version"] == first
    emptied = keep(curated({"a": None})).version.name
    assert standing_version(lake)["dataset_version"] == emptied
    assert version_before(lake, find_version(lake, emptied))["dataset_version"] == second
    assert version_before(lake, find_version(lake, first)) is None
    keep(curated({"a": None, "b": None}))
    keep(curated({"a": "q", "b": "r"}))
    assert keep(curated({"a": None, "b": None})).version.name == standing_version(lake)["dataset_version"]
