"""A version changes exactly when something that training depends on has changed."""

from collections.abc import Callable
from typing import Any

import polars as pl
import pytest

from lafid_assets.dataset.lafid_dataset import put_together
from lafid_assets.dataset.versions import VersionUnknown, dataset_version, keep_version, known_versions, read_version, rules_of
from lafid_assets.schemas import DATASET_VERSIONS, LAFID_DATASET
from resources.shard_store import ShardStore

ROWS = [
    {
        "clip_id": clip,
        "content_sha256": f"sha-{clip}",
        "refined_caption": "text",
        "speaking_status": "silent",
        "split": "train",
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
ENDED = [{"clip_id": clip, "status": "kept", "step": "", "reason": ""} for clip in "abcd"]


def _version(
    *changes: dict[str, Any],
    rules: dict[str, Any] | None = None,
    rows: list[dict[str, Any]] | None = None,
    ended: list[dict[str, Any]] | None = None,
) -> str:
    changed = [dict(row) for row in rows or ROWS]
    for row, change in zip(changed, changes, strict=False):
        row |= change
    return dataset_version(pl.DataFrame(changed), pl.DataFrame(ended or ENDED), rules or RULES)


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
    "gate",
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
        {"references": [{"frame_index": 4, "face_index": 0, "sharpness": 1.5}]},
        {"references": [{"frame_index": 3, "face_index": 1, "sharpness": 1.5}]},
        {"references": [{"frame_index": frame, "face_index": 0, "sharpness": 1.5} for frame in (3, 9)]},
        {"cross_references": [{"clip_id": "z", "reference_index": 2}]},
        {"cross_references": []},
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
    other = [*ENDED[:3], ENDED[3] | {"status": "rejected", "step": "pose_filtered_clips", "reason": "no_face"}]
    assert _version(ended=other) != _version()
    assert _version(ended=ENDED[::-1]) == _version()


def test_rules_are_policies_and_models_of_clips_that_were_measured() -> None:
    face_clips = pl.DataFrame({"fingerprint": ["f", "limits"], "status": ["ok", "error"]})
    decided = pl.DataFrame({"policy": ["cofe"], "policy_settings": ["{}"], "status": ["rejected"]})
    rules = rules_of({"face_clips": face_clips, "decided": decided, "clusters": pl.DataFrame({"policy": ["x"]})})
    assert rules == {"face_clips": {"fingerprint": ["f"]}, "decided": {"policy": ["cofe"], "policy_settings": ["{}"]}}


@pytest.fixture
def keep(store: ShardStore, curated: Callable[..., dict[str, pl.DataFrame]]) -> Callable[..., str]:
    """Keeps the version of clips as {clip: person}, as `lafid_dataset` does; gives its id."""

    def run(persons: dict[str, str | None]) -> str:
        made = put_together(curated(persons))
        versions = keep_version(store, LAFID_DATASET.frame(made.rows), made.version, made.outcomes, made.decided_by)
        store.write_group({DATASET_VERSIONS.name: versions}, "all", "f")
        return made.version

    return run


def test_every_version_is_kept_with_rows_and_funnel(store: ShardStore, keep: Callable[..., str]) -> None:
    first, second = keep({"a": "p", "b": "p"}), keep({"a": "p", "b": None})
    assert keep({"a": "p", "b": "p"}) == first, "the same inputs give the same version"
    known = known_versions(store)
    assert DATASET_VERSIONS.violations(known) == {"schema": [], "unique_key": [], "values": []}
    assert known.sort("number")["dataset_version"].to_list() == [first, second]
    kept = read_version(store, second)
    assert kept.rows["clip_id"].to_list() == ["a"]
    assert kept.outcomes["reason"].to_list() == ["", "no_face"]
    assert (kept.facts["clips"], kept.facts["clips_in"], kept.facts["erased_clips"]) == (1, 2, 0)
    assert [(count["status"], count["clips"]) for count in kept.facts["funnel"]] == [("kept", 1), ("rejected", 1)]
    assert read_version(store, first).rows["clip_id"].to_list() == ["a", "b"]


def test_versions_are_found_by_their_beginning(store: ShardStore, keep: Callable[..., str]) -> None:
    with pytest.raises(VersionUnknown, match="there are none yet: run `lafid curate DIR` first"):
        read_version(store, "latest")
    first, second = keep({"a": "p"}), keep({"a": "p", "b": "q"})
    assert read_version(store, first[:10]).facts["dataset_version"] == first
    assert read_version(store, "latest").facts["dataset_version"] == second
    with pytest.raises(VersionUnknown, match=f"no version begins with 'zz': there are .*{first}"):
        read_version(store, "zz")
    with pytest.raises(VersionUnknown, match="several versions begin with ''"):
        read_version(store, "")


def test_an_empty_dataset_is_a_version_too(store: ShardStore, keep: Callable[..., str]) -> None:
    assert read_version(store, keep({"a": None})).facts["clips"] == 0
