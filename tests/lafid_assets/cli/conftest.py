"""The command line, run in this process as the console script runs it."""

import io
import itertools
import re
import shutil
import sys
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dagster as dg
import polars as pl
import pytest

from lafid_assets.cli.main import run
from lafid_assets.schemas import BY_NAME, DATASET_OUTCOMES, DATASET_VERSION_ROWS, DATASET_VERSIONS, LAFID_DATASET, RAW_CLIPS
from model.release.drawing_settings import DrawingSettings
from resources.lake.lake import UNPARTITIONED, Lake
from tests.lafid_assets.cli.stand_in import StandIn
from tests.once import built_once


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
        monkeypatch.setattr(sys, "argv", ["lafid", *map(str, arguments), "--home", str(home)])
        code = run()
        out, err = capsys.readouterr()
        return Ended(code, out, err)

    return invoke


@pytest.fixture(scope="session")
def bad_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    def build(folder: Path) -> None:
        folder.mkdir()
        (folder / "empty.mp4").write_bytes(b"")
        (folder / "text.mp4").write_bytes(b"no video" * 100)

    return built_once(tmp_path_factory, "bad files", build)


@pytest.fixture(scope="session")
def curated(bad_files: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A home in which each of them was curated in a shard of its own; and what was printed."""

    def build(folder: Path) -> None:
        home, said = folder / "home", io.StringIO()
        with pytest.MonkeyPatch.context() as patched, redirect_stdout(said):
            for name in ("LAFID_HOME", "DAGSTER_HOME"):
                patched.setenv(name, str(home))
            patched.setattr(dg.DagsterInstance, "get", dg.DagsterInstance.ephemeral)
            patched.setattr(sys, "argv", ["lafid", "curate", str(bad_files), "--clips-per-shard", "1", "--home", str(home)])
            assert run() == 0
        (folder / "said.txt").write_text(said.getvalue())

    folder = built_once(tmp_path_factory, "curated", build)
    return folder / "home", (folder / "said.txt").read_text()


@pytest.fixture
def curated_home(curated: tuple[Path, str], home: Path) -> Path:
    """A copy of it in `home`."""
    shutil.copytree(curated[0], home, dirs_exist_ok=True)
    return home


@pytest.fixture
def publish(lake: Lake, lay_clips: Callable[..., None]) -> Callable[[Mapping[str, pl.DataFrame]], None]:
    """Puts tables into the installation's lake; `raw_clips`, a view, by the tables that it shows, a file a clip."""

    def put(tables: Mapping[str, pl.DataFrame]) -> None:
        for name, frame in tables.items():
            if name == RAW_CLIPS.name:
                placed = frame.with_columns(pl.col("path").fill_null(pl.col("clip_id")), pl.col("clip_root").fill_null("/x"))
                lay_clips(lake, placed, "x")
            else:
                lake.put({name: frame}, "x" if BY_NAME[name].partitioned else UNPARTITIONED, "f")

    return put


@pytest.fixture
def keep_dataset(lake: Lake, row_of: Callable[..., dict[str, Any]]) -> Callable[..., None]:
    """Keeps a dataset version in `home`: {clip: licence}, every clip of a person of its own, and clips that were rejected."""
    numbers = itertools.count(1)

    def keep(
        version: str, clips: dict[str, str], rejected: tuple[str, ...] = (), models: tuple[str, ...] = ("dlib: MIT",)
    ) -> None:
        known = {"dataset_version": version, "model_licences": list(models)}
        dataset = LAFID_DATASET.frame(
            row_of(LAFID_DATASET, clip_id=clip, content_sha256=clip, identity_id=clip, licence=licence, **known)
            for clip, licence in clips.items()
        )
        number = next(numbers)
        listed = row_of(DATASET_VERSIONS, dataset_version=version, number=number, clips=len(clips), erased_clips=0)
        ended = [{"clip_id": clip, "status": "kept", "step": "", "reason": ""} for clip in clips]
        ended += [
            {"clip_id": clip, "status": "rejected", "step": "pose_filtered_clips", "reason": "no_face"} for clip in rejected
        ]
        tables = {
            LAFID_DATASET: dataset,
            DATASET_VERSION_ROWS: dataset,
            DATASET_VERSIONS: DATASET_VERSIONS.frame([listed]),
            DATASET_OUTCOMES: DATASET_OUTCOMES.frame(row | {"since": number} for row in ended),
        }
        lake.put({table.name: frame for table, frame in tables.items()}, "all", version)

    return keep


@pytest.fixture
def stand_in(home: Path, monkeypatch: pytest.MonkeyPatch) -> StandIn:
    """What `pull` gives, whatever the name."""
    import model.release.package

    pulled = StandIn()

    def pull(uri: str, drawing: DrawingSettings, **loading: Any) -> StandIn:
        pulled.loaded = {"uri": uri, "drawing": drawing, **loading}
        return pulled

    monkeypatch.setattr(model.release.package, "pull", pull)
    monkeypatch.setattr(model.release.package, "fetch", lambda _uri, _downloads: SimpleNamespace(checkpoint_dir=home))
    monkeypatch.setattr("model.release.checkpoint.read_manifest", lambda _folder: pulled.manifest)
    monkeypatch.setattr("resources.tracking.Tracking.connect", lambda self: None)
    (home / "mlflow").mkdir(parents=True)
    (home / "mlflow" / "mlflow.db").write_bytes(b"")
    return pulled
