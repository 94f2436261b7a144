"""What came, went and changed between two versions, and why."""

from collections.abc import Callable

import polars as pl
import pytest

from lafid_assets.dataset.lafid_dataset import put_together
from lafid_assets.dataset.version_diff import as_object, diff_versions
from lafid_assets.dataset.versions import KeptVersion
from lafid_assets.schemas import LAFID_DATASET

Curated = Callable[..., dict[str, pl.DataFrame]]


@pytest.fixture
def version(curated: Curated) -> Callable[..., KeptVersion]:
    def make(
        persons: dict[str, str | None], change: Callable[[dict[str, pl.DataFrame]], None] = lambda tables: None
    ) -> KeptVersion:
        tables = curated(persons)
        change(tables)
        made = put_together(tables)
        facts = {"dataset_version": made.version, "made_at": "now", "clips": made.rows.height, "erased_clips": 0}
        return KeptVersion(facts | {"decided_by": str(made.decided_by)}, LAFID_DATASET.frame(made.rows), made.outcomes)

    return make


def test_every_difference_has_its_reason(version: Callable[..., KeptVersion]) -> None:
    older = version({"a": "p", "b": "p", "c": None, "d": "q", "f": "s"})
    newer = version({"a": "p", "b": None, "c": "q", "e": "r", "f": "s"})
    why = {(row["clip_id"], row["change"]): row["why"] for row in diff_versions(older, newer).to_dicts()}
    assert why[("c", "came")] == "before, it was rejected by pose_filtered_clips: no_face"
    assert why[("e", "came")] == "it did not come in before"
    assert why[("b", "went")] == "rejected by pose_filtered_clips: no_face"
    assert why[("d", "went")] == "it does not come in any more"
    assert why[("a", "changed")] == "cross_references: 1 went, 0 came"
    assert ("f", "changed") not in why or why[("f", "changed")].startswith("split:")


def test_what_changed_is_named_with_both_values(version: Callable[..., KeptVersion]) -> None:
    def rewrite(tables: dict[str, pl.DataFrame]) -> None:
        tables["speech_tagged_clips"] = tables["speech_tagged_clips"].with_columns(refined_caption=pl.lit("new"))
        crops = tables["reference_crops"]
        tables["reference_crops"] = crops.with_columns(frame_index=pl.col("frame_index") + (pl.col("reference_index") == 2))

    diff = as_object(version({"a": "p"}), version({"a": "p"}, rewrite))
    assert diff["rows"] == [
        {"clip_id": "a", "change": "changed", "why": "refined_caption: caption of a -> new; references: 1 went, 1 came"}
    ]
    assert (diff["came"], diff["went"], diff["changed"], diff["rules_differ"]) == (0, 0, 1, False)


def test_other_rules_are_said(version: Callable[..., KeptVersion]) -> None:
    def stricter(tables: dict[str, pl.DataFrame]) -> None:
        tables["pose_filtered_clips"] = tables["pose_filtered_clips"].with_columns(policy=pl.lit("strict"))

    diff = as_object(version({"a": "p"}), version({"a": "p"}, stricter))
    assert diff["rules_differ"]
    assert diff["rows"] == []
    assert diff["versions"][0] != diff["versions"][1]


def test_a_version_does_not_differ_from_itself(version: Callable[..., KeptVersion]) -> None:
    one = version({"a": "p", "b": None})
    assert diff_versions(one, one).is_empty()
