"""A small lake with tables of every kind: what the tests of `lake` work on, and the processes that they start."""

from pathlib import Path

import polars as pl

from lafid_assets.steps.contract import Column, TableSchema
from resources.lake.catalog import Catalog
from resources.lake.lake import Lake
from resources.store.file_store import FileStore

PART = pl.Struct({"name": pl.String, "at": pl.List(pl.Float32)})
MEASURES = TableSchema(
    "measures",
    "A row a clip.",
    ("clip_id",),
    (
        Column("clip_id", pl.String, "the clip"),
        Column("shard", pl.String, "its shard"),
        Column("n", pl.Int64, "a number"),
        Column("value", pl.Float64, "a measure", nullable=True),
        Column("vector", pl.List(pl.Float32), "an embedding", nullable=True),
        Column("parts", pl.List(PART), "parts with names", nullable=True),
        Column("text", pl.String, "words", nullable=True),
    ),
)
ENDS = TableSchema(
    "ends",
    "How clips ended.",
    ("clip_id",),
    (Column("clip_id", pl.String, "the clip"), Column("shard", pl.String, "its shard"), Column("n", pl.Int64, "a number")),
)
TOTALS = TableSchema("totals", "Sums.", ("n",), (Column("n", pl.Int64, "a sum"),), partitioned=False)
SETTINGS = TableSchema(
    "said",
    "Settings by hash.",
    ("sha",),
    (Column("sha", pl.String, "hash"), Column("json", pl.String, "what it is of")),
    partitioned=False,
    appended=True,
)
TABLES = (MEASURES, ENDS, TOTALS, SETTINGS)


def rows(shard: str, n: int, count: int = 50) -> dict[str, pl.DataFrame]:
    """Two tables of a shard; all their rows bear the number `n`."""
    clips = [{"clip_id": f"{shard}-{index}", "shard": shard, "n": n} for index in range(count)]
    more = {"value": None, "vector": [float(n), 0.5], "parts": [], "text": "words"}
    return {"measures": MEASURES.frame([clip | more for clip in clips]), "ends": ENDS.frame(clips)}


def open_small_lake(home: Path, address: str = "", store_uri: str = "", *, read_only: bool = False) -> Lake:
    store = FileStore(store_uri or str(home / "store"))
    return Lake(store, Catalog.of(store, address or None), home, TABLES, read_only=read_only)
