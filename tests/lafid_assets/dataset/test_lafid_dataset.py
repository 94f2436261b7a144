"""The training table, joined from all steps."""

from collections.abc import Callable

import polars as pl
import pytest

from lafid_assets.dataset.lafid_dataset import ClipsLost, assemble, one_split_each
from lafid_assets.schemas import LAFID_DATASET

Curated = Callable[..., dict[str, pl.DataFrame]]
PERSONS = {"a": "p", "b": "p", "c": "q", "d": None, "e": "r"}


def _dataset(tables: dict[str, pl.DataFrame]) -> pl.DataFrame:
    dataset = LAFID_DATASET.frame(assemble(tables))
    assert LAFID_DATASET.violations(dataset) == {"schema": [], "unique_key": [], "values": []}
    return dataset


def test_kept_clips_come_with_all_that_is_known(curated: Curated) -> None:
    dataset = _dataset(curated(PERSONS))
    assert dict(dataset.select("clip_id", "identity_id").iter_rows()) == {"a": "p", "b": "p", "c": "q", "e": "r"}
    row = dataset.row(0, named=True)
    assert (row["content_sha256"], row["refined_caption"], row["licence"]) == ("sha-a", "caption of a", "CC")
    assert (row["engine"], row["pose_variation_deg"], row["identity_embedding"]) == ("dlib", 60.0, [1.0, 0.0])
    assert [reference["yaw_deg"] for reference in row["references"]] == [0.0, -20.0, 20.0]


def test_persons_are_on_one_side(curated: Curated) -> None:
    dataset = _dataset(curated(PERSONS))
    assert one_split_each({"lafid_dataset": dataset}) == []
    assert set(dataset["split"]) == {"train", "validation", "test"}
    torn = dataset.with_columns(split=pl.when(pl.col("clip_id") == "a").then(pl.lit("x")).otherwise(pl.lit("y")))
    assert one_split_each({"lafid_dataset": torn}) == ["p is in 2 splits"]


def test_nothing_kept_is_an_empty_table(curated: Curated) -> None:
    assert _dataset(curated({"a": None})).height == 0


def test_version_follows_the_decisions(curated: Curated) -> None:
    tables = curated(PERSONS)
    first = _dataset(tables)["dataset_version"].unique().to_list()
    assert first == _dataset(tables)["dataset_version"].unique().to_list()
    assert len(first) == 1
    stricter = tables | {"pose_filtered_clips": tables["pose_filtered_clips"].with_columns(policy=pl.lit("strict"))}
    fewer = curated(PERSONS | {"e": None})
    for changed in (stricter, fewer):
        assert _dataset(changed)["dataset_version"][0] != first[0]


@pytest.mark.parametrize("table", ["identity_clusters", "face_info"])
def test_kept_clip_that_would_get_lost_is_named(curated: Curated, table: str) -> None:
    """A shard that was curated since the clusters were made must not vanish from the dataset without a word."""
    tables = curated(PERSONS)
    stale = tables | {table: tables[table].filter(pl.col("clip_id") != "c")}
    with pytest.raises(
        ClipsLost, match="1 kept clips, the first c, have no identity or no reference face: materialize identity_cl"
    ):
        assemble(stale)
