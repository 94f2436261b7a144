"""The plain DuckDB file: whole, for any client, and nobody is hurt by who has it open."""

import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest

from lafid_assets.dataset.lafid_dataset import Dataset
from lafid_assets.dataset.published import PUBLISHED, NotPublished, publish
from lafid_assets.schemas import BY_NAME, LAFID_DATASET
from resources.lake.lake import Lake

ANALYST = (
    "import duckdb, sys; c = duckdb.connect(sys.argv[1]); c.execute('CREATE VIEW good AS SELECT * FROM lafid_dataset'); "
    "print('held', flush=True); sys.stdin.readline(); print(c.execute('SELECT count(*) FROM good').fetchone()[0]); c.close()"
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "home" / "lafid.duckdb"


@pytest.fixture
def dataset(lake: Lake, curated: Callable[..., Any], keep: Callable[..., Dataset]) -> None:
    keep(curated({"a": "p", "b": "q", "c": None}))


def _ask(path: Path, query: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(path), read_only=True) as connection:
        return connection.execute(query).fetchall()


def test_file_holds_the_tables_that_were_written_with_what_their_columns_mean(lake: Lake, dataset: None, path: Path) -> None:
    publish(lake, path)
    there = {name for (name,) in _ask(path, "SELECT table_name FROM duckdb_tables()")}
    assert there <= set(PUBLISHED)
    assert {"raw_clips", "lafid_dataset", "dataset_versions", "policy_settings", "identity_clusters"} <= there
    assert not {"fusion_dit", "registered_model"} & there, "nothing has been trained yet"
    assert _ask(path, "SELECT clip_id, path, licence FROM raw_clips ORDER BY ALL") == [(clip, clip, "CC") for clip in "abc"]
    comments = dict(_ask(path, "SELECT column_name, comment FROM duckdb_columns() WHERE table_name = 'lafid_dataset'"))
    assert comments == {name: said for name, said in LAFID_DATASET.comments.items() if name != "identity_embedding"}


def test_no_embedding_leaves() -> None:
    assert set(PUBLISHED) <= set(BY_NAME)
    left = {
        (table, column) for table, left_out in PUBLISHED.items() for column in BY_NAME[table].dtypes if column not in left_out
    }
    assert not {column for _, column in left} & {"embedding", "centroid", "identity_embedding"}
    assert all(set(left_out) <= set(BY_NAME[table].dtypes) for table, left_out in PUBLISHED.items())
    assert not {"face_info", "face_frames", "face_embeddings", "faces"} & set(PUBLISHED)


def test_file_is_that_of_the_moment_and_nothing_stays_beside_it(
    lake: Lake, dataset: None, curated: Callable[..., Any], keep: Callable[..., Dataset], path: Path
) -> None:
    publish(lake, path)
    keep(curated({"a": "p", "b": None, "c": None}))
    left = path.with_name(".lafid.0123.duckdb")
    left.write_bytes(b"of a publication that was killed")
    publish(lake, path)
    assert _ask(path, "SELECT clip_id FROM lafid_dataset") == [("a",)]
    assert [entry.name for entry in path.parent.glob("*lafid.*")] == ["lafid.duckdb"]


@pytest.mark.parametrize("ends", ["closed", "killed"])
def test_analyst_with_the_old_file_open_hurts_nobody(lake: Lake, dataset: None, path: Path, ends: str) -> None:
    """Clients open it for writing unless told otherwise, and make views; their log lies beside the file."""
    publish(lake, path)
    with subprocess.Popen(
        [sys.executable, "-c", ANALYST, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as analyst:
        assert analyst.stdout is not None
        assert analyst.stdout.readline() == "held\n"
        publish(lake, path)
        assert _ask(path, "SELECT count(*) FROM raw_clips") == [(3,)], "while the old one is open"
        if ends == "closed":
            assert analyst.communicate("\n")[0] == "2\n", "the old file is whole for whoever has it"
        else:
            analyst.kill()
    publish(lake, path)
    assert _ask(path, "SELECT count(*) FROM raw_clips") == [(3,)]
    assert not path.with_name("lafid.duckdb.wal").exists()


def test_full_disk_leaves_the_last_file_and_the_lake(
    lake: Lake, dataset: None, curated: Callable[..., Any], keep: Callable[..., Dataset], path: Path
) -> None:
    publish(lake, path)
    keep(curated({"a": "p", "b": None}))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, hard))
    try:
        with pytest.raises(NotPublished, match=r"cannot write .*lafid.duckdb .*: free some space"):
            publish(lake, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert _ask(path, "SELECT count(*) FROM lafid_dataset") == [(2,)]
    assert [entry.name for entry in path.parent.glob("*lafid.*")] == ["lafid.duckdb"]
    assert isinstance(lake.read("lafid_dataset"), pl.DataFrame)
    publish(lake, path)
    assert _ask(path, "SELECT count(*) FROM lafid_dataset") == [(1,)]
