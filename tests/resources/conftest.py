"""Small lakes of both kinds, and other processes that work on them."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

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

PREAMBLE = """
import os, random, signal, sys, threading, time
from pathlib import Path
from tests.resources.conftest import open_small_lake, rows
home, address, *arguments = sys.argv[1:]
lake = open_small_lake(Path(home), address)
"""


def rows(shard: str, n: int, count: int = 50) -> dict[str, pl.DataFrame]:
    """Two tables of a shard; all their rows bear the number `n`."""
    clips = [{"clip_id": f"{shard}-{index}", "shard": shard, "n": n} for index in range(count)]
    more = {"value": None, "vector": [float(n), 0.5], "parts": [], "text": "words"}
    return {"measures": MEASURES.frame([clip | more for clip in clips]), "ends": ENDS.frame(clips)}


def open_small_lake(home: Path, address: str = "", store_uri: str = "", *, read_only: bool = False) -> Lake:
    store = FileStore(store_uri or str(home / "store"))
    return Lake(store, Catalog.of(store, address or None), home, TABLES, read_only=read_only)


@pytest.fixture(params=["sqlite", "postgres"])
def address(request: pytest.FixtureRequest) -> str:
    """Of a catalog: nothing for the file in the store, or Postgres."""
    return request.getfixturevalue("postgres_url") if request.param == "postgres" else ""


@pytest.fixture
def small_lake(tmp_path: Path, address: str) -> Iterator[Lake]:
    lake = open_small_lake(tmp_path / "home", address)
    yield lake
    lake.close()


@pytest.fixture
def open_lake_at() -> Iterator[Callable[..., Lake]]:
    """A lake at a home, the address of a catalog, and a store."""
    lakes: list[Lake] = []

    def open_it(*arguments: Any, **options: Any) -> Lake:
        lakes.append(open_small_lake(*arguments, **options))
        return lakes[-1]

    yield open_it
    for lake in lakes:
        lake.close()


@pytest.fixture
def rows_of() -> Callable[..., dict[str, pl.DataFrame]]:
    return rows


@pytest.fixture
def elsewhere(tmp_path: Path, address: str) -> Iterator[Callable[..., "subprocess.Popen[str]"]]:
    """Starts another process with `lake` and `arguments`, whose program is given."""
    started: list[Any] = []

    def start(program: str, *arguments: object) -> "subprocess.Popen[str]":
        command = [sys.executable, "-c", PREAMBLE + program, str(tmp_path / "home"), address, *map(str, arguments)]
        started.append(
            subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        )
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()
