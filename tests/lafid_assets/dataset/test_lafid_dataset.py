"""The training table, joined from all steps."""

from collections.abc import Callable
from typing import Any

import dagster as dg
import polars as pl
import pytest

from lafid_assets.dataset.lafid_dataset import ClipsLost, assemble, lafid_dataset, one_split_each, put_together
from lafid_assets.dataset.versions import ROWS, known_versions, read_version, version_path
from lafid_assets.definitions import build_resources
from lafid_assets.schemas import LAFID_DATASET
from resources.settings import Settings
from resources.shard_store import ShardStore

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


@pytest.mark.parametrize("table", ["identity_clusters", "reference_crops"])
def test_kept_clip_that_would_get_lost_is_named(curated: Curated, table: str) -> None:
    """A shard that was curated since the clusters were made must not vanish from the dataset without a word."""
    tables = curated(PERSONS)
    stale = tables | {table: tables[table].filter(pl.col("clip_id") != "c")}
    with pytest.raises(
        ClipsLost, match="1 kept clips, the first c, have no identity or no reference face: materialize identity_cl"
    ):
        assemble(stale)


def test_licences_of_clip_and_models_are_columns(curated: Curated) -> None:
    tables = curated({"a": "p", "b": "q", "c": "r"})
    heard = pl.Series([True, True, False])
    models = pl.Series(["whisper-x", "file: words.srt", None])
    terms = pl.Series(["MIT", None, None])
    lips = pl.Series(["dlib", "insightface/w600k", "dlib"])
    tables["speech_info"] = (
        tables["speech_info"]
        .sort("clip_id")
        .with_columns(has_audio=heard, transcriber=models, transcriber_licence=terms, engine=lips)
    )
    masked = pl.col("clip_id") == "c"
    tables["reference_crops"] = tables["reference_crops"].with_columns(
        mask=pl.when(masked).then(pl.lit("modnet")).otherwise("mask"), mask_licence=pl.when(masked).then(pl.lit("Apache-2.0"))
    )
    tables["raw_clips"] = tables["raw_clips"].with_columns(gate=pl.lit("gated"))
    dataset = _dataset(tables).sort("clip_id")
    research = "non-commercial-research"
    assert dataset["model_licences"].to_list() == [
        [f"dlib: {research}", "silero-vad: MIT", "whisper-x: MIT"],
        [f"dlib: {research}", f"insightface/w600k: {research}", "silero-vad: MIT"],
        [f"dlib: {research}", "modnet: Apache-2.0"],
    ]
    assert set(dataset["gate"]) == {"gated"}


def test_clips_of_one_person_refer_to_each_other(curated: Curated) -> None:
    dataset = _dataset(curated(PERSONS)).sort("clip_id")
    crossed = {row["clip_id"]: [ref["clip_id"] for ref in row["cross_references"]] for row in dataset.iter_rows(named=True)}
    assert crossed == {"a": ["b"], "b": ["a"], "c": [], "e": []}


def test_asset_keeps_every_version_once(settings: Settings, store: ShardStore, curated: Curated) -> None:
    """Through Dagster: current is not computed again, a lost version is made anew, the list of versions grows."""
    instance = dg.DagsterInstance.ephemeral()

    def run(persons: dict[str, str | None]) -> dict[str, Any]:
        for name, frame in curated(persons).items():
            store.write_group({name: frame}, "all" if name == "identity_clusters" else "shard-00000", "f")
        result = dg.materialize([lafid_dataset], instance=instance, resources=build_resources(settings))
        [event] = result.get_asset_materialization_events()
        return {name: value.value for name, value in event.materialization.metadata.items()}

    first = run(PERSONS)
    assert not run(PERSONS)["computed"]
    second = run({"a": "p"})
    assert known_versions(store).sort("number")["dataset_version"].to_list() == [
        first["dataset_version"],
        second["dataset_version"],
    ]
    store.remove(version_path(second["dataset_version"], ROWS))
    assert run({"a": "p"})["computed"]
    assert read_version(store, second["dataset_version"]).rows["clip_id"].to_list() == ["a"]
    assert known_versions(store).height == 2


def test_nobody_changes_sides_when_persons_come(curated: Curated) -> None:
    """Also when the hashes would have it otherwise: a handful of persons cannot fill three splits by chance."""
    persons: dict[str, str | None] = {}
    sides: dict[str, str] = {}
    for person in "pqrstuvw":
        persons[f"clip-{person}"] = person
        made = put_together(curated(persons), sides or None)
        now = dict(made.rows.select("split_key", "split").iter_rows())
        assert {key: now[key] for key in sides} == sides
        sides = now
