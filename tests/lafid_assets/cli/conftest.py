"""The command line, run in this process as the console script runs it."""

import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from lafid_assets.contract import comments
from lafid_assets.dataset.versions import keep_version
from lafid_assets.schemas import BY_NAME, DATASET_VERSIONS, LAFID_DATASET, TABLES
from resources.settings import Settings
from resources.shard_store import UNPARTITIONED, ShardStore
from resources.warehouse import Warehouse


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def error(self) -> str:
        """The one line that says what is wrong; a second one may only say where the traceback lies."""
        lines = self.err.strip().splitlines()
        assert self.code != 0
        assert lines[0].startswith("error: ")
        assert all(re.match(r"details: /.+/logs/last-error\.log$", line) for line in lines[1:])
        assert len(lines) <= 2
        return lines[0]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def lafid(home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Ended]:
    """Runs `lafid ARGUMENTS --home HOME`."""

    def invoke(*arguments: object) -> Ended:
        from lafid_assets.cli.main import run

        monkeypatch.setattr(sys, "argv", ["lafid", *map(str, arguments), "--home", str(home)])
        code = run()
        out, err = capsys.readouterr()
        return Ended(code, out, err)

    return invoke


@pytest.fixture
def publish(home: Path) -> Callable[[Mapping[str, pl.DataFrame]], None]:
    """Puts tables into the installation's store and its published DuckDB file."""

    def put(tables: Mapping[str, pl.DataFrame]) -> None:
        settings = Settings(home=home, store_uri=str(home / "store"))
        store = ShardStore(settings.store_uri)
        warehouse = Warehouse(settings.warehouse_path, store, comments(TABLES))
        for name, frame in tables.items():
            partition = "x" if BY_NAME[name].partitioned else UNPARTITIONED
            store.write_group({name: frame}, partition, "f")
            warehouse.replace_partition({name: frame}, partition)

    return put


@pytest.fixture
def keep_dataset(home: Path, row_of: Callable[..., dict[str, Any]]) -> Callable[..., None]:
    """Keeps a dataset version in `home`: {clip: licence}, every clip of a person of its own, and clips that were rejected."""

    def keep(
        version: str, clips: dict[str, str], rejected: tuple[str, ...] = (), models: tuple[str, ...] = ("dlib: MIT",)
    ) -> None:
        known = {"dataset_version": version, "model_licences": list(models)}
        store = ShardStore(str(home / "store"))
        dataset = LAFID_DATASET.frame(
            row_of(LAFID_DATASET, clip_id=clip, content_sha256=clip, identity_id=clip, licence=licence, **known)
            for clip, licence in clips.items()
        )
        ended = [(clip, "kept", "", "") for clip in clips]
        ended += [(clip, "rejected", "pose_filtered_clips", "no_face") for clip in rejected]
        outcomes = pl.DataFrame(ended, schema=["clip_id", "status", "step", "reason"], orient="row")
        listed = keep_version(store, dataset, version, outcomes, {})
        store.write_group({LAFID_DATASET.name: dataset, DATASET_VERSIONS.name: listed}, "all", "f")

    return keep
