"""The tables: documented, keyed, and the same in Polars and in the lake."""

from collections.abc import Callable
from typing import Any

import polars as pl
import pytest

from lafid_assets.outcomes import Reason, Status
from lafid_assets.schemas import BY_NAME, FACE_EMBEDDINGS, FACE_INFO, OUTCOME_TABLES, TABLES
from lafid_assets.steps.contract import TableSchema
from resources.lake.lake import UNPARTITIONED, Lake

every_table = pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)


def _examples(table: TableSchema, row_of: Callable[..., dict[str, Any]]) -> list[dict[str, Any]]:
    """One row with NULL wherever it may be, and one with a value everywhere, lists and structs filled."""
    plain = row_of(table)
    outcome = {"status": str(Status.REJECTED), "reason": str(Reason.NO_FACE)} if "reason" in table.dtypes else {}
    full = {column.name: _value(column.dtype) for column in table.columns if column.nullable and not column.one_of}
    keys = {name: "y" for name in table.key if table.dtypes[name] == pl.String and not _column(table, name).one_of}
    keys.pop("shard", None)
    keys |= {"gap_from_deg": 2} if table.name == "similarity_by_pose_gap" else {}
    chosen = {c.name: str(c.one_of[-1]) for c in table.columns if c.one_of and c.name not in ("status", "reason")}
    lists = {c.name: _value(c.dtype) for c in table.columns if isinstance(c.dtype, pl.List)}
    status = {"status": "kept", "reason": ""} if table.name in ("dataset_report", "dataset_outcomes") else outcome
    return [plain, plain | full | lists | chosen | status | keys]


def _column(table: TableSchema, name: str) -> Any:
    return next(column for column in table.columns if column.name == name)


def _value(dtype: Any) -> Any:
    if isinstance(dtype, pl.List):
        return [_value(dtype.inner), _value(dtype.inner)]
    if isinstance(dtype, pl.Struct):
        return {field.name: _value(field.dtype) for field in dtype.fields}
    return {pl.String: "text", pl.Boolean: False}.get(dtype, 1)


@pytest.mark.parametrize("filled", [False, True])
def test_every_table_goes_into_the_lake_and_back_unchanged(
    lake: Lake, row_of: Callable[..., dict[str, Any]], filled: bool
) -> None:
    held = [table for table in TABLES if table.view is None]
    frames = {table.name: table.frame(_examples(table, row_of) if filled else []) for table in held}
    for partition in ("x", UNPARTITIONED):
        lake.put({table.name: frames[table.name] for table in held if table.partitioned == (partition == "x")}, partition, "f")
    for table in held:
        assert table.violations(frames[table.name]) == [], table.name
        back = lake.read(table.name, "x" if table.partitioned else UNPARTITIONED)
        assert back.schema == frames[table.name].schema, table.name
        assert back.equals(frames[table.name]), table.name


def test_every_view_shows_the_columns_of_its_contract(lake: Lake) -> None:
    for table in TABLES:
        if table.view is not None:
            assert dict(lake.sql(f"SELECT * FROM {table.name}").schema) == dict(table.frame([]).schema), table.name


def test_faces_have_their_embeddings_and_those_without_one_stay(lake: Lake, row_of: Callable[..., dict[str, Any]]) -> None:
    key = {"clip_id": "a", "shard": "x", "frame_index": 0}
    faces = [row_of(FACE_INFO, **key, face_index=index) for index in range(2)]
    embedding = row_of(FACE_EMBEDDINGS, **key, face_index=1, embedding=[0.6, 0.8])
    lake.put({"face_info": FACE_INFO.frame(faces), "face_embeddings": FACE_EMBEDDINGS.frame([embedding])}, "x")
    assert lake.read("faces", "x", ["face_index", "embedding"]).rows() == [(0, None), (1, pytest.approx([0.6, 0.8]))]


@every_table
def test_every_table_documents_itself(table: TableSchema) -> None:
    assert table.doc
    assert set(table.key) <= set(table.dtypes)
    assert len(table.dtypes) == len(table.columns)
    assert all(column.doc for column in table.columns)
    assert not any(column.nullable for column in table.columns if column.name in table.key)


@every_table
def test_partitioned_tables_know_their_shard(table: TableSchema) -> None:
    assert table.partitioned <= ("shard" in table.dtypes)


def test_outcome_tables_have_a_row_for_every_clip_with_its_outcome() -> None:
    for table in map(BY_NAME.__getitem__, OUTCOME_TABLES.values()):
        assert table.key == ("clip_id",)
        assert {"status", "reason", "detail"} <= set(table.dtypes)
        assert "shard" in table.dtypes
    assert len(BY_NAME) == len(TABLES)


def test_tables_bear_the_names_that_users_were_promised() -> None:
    assert set(BY_NAME) == {
        "clip_roots",
        "clip_files",
        "clip_rows",
        "clip_contents",
        "clips",
        "recordings",
        "pieces",
        "footage",
        "raw_clips",
        "policy_settings",
        "face_info",
        "face_embeddings",
        "faces",
        "face_frames",
        "shot_boundaries",
        "face_clips",
        "picture_measures",
        "pose_filtered_clips",
        "id_consistent_clips",
        "similarity_by_pose_gap",
        "identity_clusters",
        "identity_edges",
        "identity_history",
        "speech_info",
        "speech_tagged_clips",
        "duplicate_clips",
        "duplicate_pairs",
        "marks",
        "reference_crops",
        "lafid_dataset",
        "dataset_version_rows",
        "dataset_outcomes",
        "dataset_versions",
        "dataset_report",
        "training_latents",
        "fusion_dit",
        "lafid_bench",
        "model_evaluation",
        "evaluated_videos",
        "evaluated_frames",
        "judgements",
        "promotions",
        "registered_model",
    }
