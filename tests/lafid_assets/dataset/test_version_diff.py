"""What came, went and changed between two versions, and why."""

from collections.abc import Callable
from typing import Any

import polars as pl
import pytest

from lafid_assets.dataset.lafid_dataset import Dataset
from lafid_assets.dataset.version_diff import as_object
from resources.lake.lake import Lake

Tables = dict[str, pl.DataFrame]


@pytest.fixture
def diff(lake: Lake, keep: Callable[[Tables], Dataset]) -> Callable[..., dict[str, Any]]:
    """What lies between the versions of these tables."""

    def run(older: Tables, newer: Tables) -> dict[str, Any]:
        return as_object(lake, *(keep(tables).version.name for tables in (older, newer)))

    return run


Diff = Callable[[Tables, Tables], dict[str, Any]]
Curated = Callable[..., Tables]


def test_every_difference_has_its_reason(diff: Diff, curated: Curated) -> None:
    older = curated({"a": "p", "b": "p", "c": None, "d": "q", "f": "s"})
    newer = curated({"a": "p", "b": None, "c": "q", "e": "r", "f": "s"})
    found = diff(older, newer)
    why = {(row["clip_id"], row["change"]): row["why"] for row in found["rows"]}
    assert why[("c", "came")] == "before, it was rejected by pose_filtered_clips: no_face"
    assert why[("e", "came")] == "it did not come in before"
    assert why[("b", "went")] == "rejected by pose_filtered_clips: no_face"
    assert why[("d", "went")] == "it does not come in any more"
    assert why[("a", "changed")] == "cross_references: 1 went, 0 came"
    assert ("f", "changed") not in why or why[("f", "changed")].startswith("split:")
    assert (found["came"], found["went"], found["went_by_decision"]) == (2, 2, 1)
    assert (found["clips"], found["persons"]) == ([4, 4], [3, 4])


def test_a_file_that_was_replaced_is_not_lost(diff: Diff, curated: Curated) -> None:
    newer = curated({"a": "p", "new": "p"})
    for name in ("clip_files", "clip_rows", "clip_contents"):
        newer[name] = newer[name].with_columns(path=pl.col("path").replace({"new": "b"}))
    found = diff(curated({"a": "p", "b": "p", "c": "p"}), newer)
    why = {row["clip_id"]: row["why"] for row in found["rows"] if row["change"] == "went"}
    assert why == {"b": "its file has another content now, or is cut otherwise", "c": "it does not come in any more"}
    assert (found["went"], found["went_by_decision"]) == (2, 1)


def test_shots_of_a_recording_that_is_cut_otherwise_are_not_lost(
    diff: Diff, curated: Curated, as_pieces: Callable[..., Tables]
) -> None:
    older = as_pieces(curated({"a": "p", "b": "p", "c": "p"}), "whole", ["b", "c"])
    newer = as_pieces(curated({"a": "p", "d": "p"}), "whole", ["d"])
    found = diff(older, newer)
    assert (found["went"], found["went_by_decision"]) == (2, 2)


def test_what_changed_is_named_with_both_values(diff: Diff, curated: Curated) -> None:
    rewritten = curated({"a": "p"})
    rewritten["speech_tagged_clips"] = rewritten["speech_tagged_clips"].with_columns(refined_caption=pl.lit("new"))
    crops = rewritten["reference_crops"]
    rewritten["reference_crops"] = crops.with_columns(frame_index=pl.col("frame_index") + (pl.col("reference_index") == 2))
    found = diff(curated({"a": "p"}), rewritten)
    assert found["rows"] == [
        {"clip_id": "a", "change": "changed", "why": "refined_caption: caption of a -> new; references: 1 went, 1 came"}
    ]
    assert (found["came"], found["went"], found["changed"], found["rules_differ"]) == (0, 0, 1, False)
    assert found["captions"] == 1


def test_other_rules_are_said(diff: Diff, curated: Curated) -> None:
    stricter = curated({"a": "p"})
    stricter["pose_filtered_clips"] = stricter["pose_filtered_clips"].with_columns(policy=pl.lit("strict"))
    found = diff(curated({"a": "p"}), stricter)
    assert found["rules_differ"]
    assert found["rows"] == []
    assert found["versions"][0] != found["versions"][1]


def test_a_version_does_not_differ_from_itself(diff: Diff, curated: Curated) -> None:
    tables = curated({"a": "p", "b": None})
    assert diff(tables, tables)["rows"] == []
