"""Clips laid into a lake as registration and probing leave them; a road of three steps; reports whose charts cost nothing."""

import io
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import polars as pl
import pytest
from PIL import Image

from lafid_assets.dataset import dataset_report as report_module
from lafid_assets.schemas import CLIP_CONTENTS, CLIP_FILES, CLIP_ROOTS, CLIP_ROWS, CLIPS
from lafid_assets.steps import step as step_module
from resources.lake.lake import Lake
from tests.lafid_assets.road import ONE, SOURCE, TABLES, THREE, TWO, Road, lake_of_road

SEEN_AT = "2026-01-01T00:00:00+00:00"


@pytest.fixture(scope="session")
def lay_clips() -> Callable[..., None]:
    """Puts the tables behind `raw_clips` into a lake, from rows of `raw_clips`; rows without path have no file."""
    return _lay_clips


def _lay_clips(lake: Lake, raw_clips: pl.DataFrame, shard: str) -> None:
    placed = raw_clips.drop_nulls("path")
    states = [_state(Path(root), path) for root, path in placed.select("clip_root", "path").iter_rows()]
    files = placed.with_columns(
        size_bytes=pl.Series([size for size, _ in states], dtype=pl.Int64),
        mtime_ns=pl.Series([mtime for _, mtime in states], dtype=pl.Int64),
        etag=pl.lit(None, pl.String),
        seen_at=pl.lit(SEEN_AT),
        released_id=pl.lit(None, pl.String),
        in_table=pl.lit(True),
        fault=pl.lit(None, pl.String),
        clip_shard="shard",
    )
    tables = (CLIPS, CLIP_FILES, CLIP_ROWS, CLIP_CONTENTS)
    lake.put({table.name: table.frame((raw_clips if table is CLIPS else files).select(*table.dtypes)) for table in tables}, shard)
    roots = pl.concat([lake.read(CLIP_ROOTS.name), files.select("clip_root", "seen_at")]) if _has_roots(lake) else files
    lake.put({CLIP_ROOTS.name: CLIP_ROOTS.frame(roots.select("clip_root", "seen_at").unique("clip_root"))})


def _has_roots(lake: Lake) -> bool:
    return bool(lake.stamps([CLIP_ROOTS.name]))


def _state(root: Path, path: str) -> tuple[int | None, int | None]:
    file = root / path
    return (file.stat().st_size, file.stat().st_mtime_ns) if file.is_file() else (None, None)


@pytest.fixture(scope="session")
def _prepared_road(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose lake has the tables of the road and two clips in `source`: copying it is cheaper than making them."""
    home = tmp_path_factory.mktemp("road") / "home"
    with closing(lake_of_road(home)) as lake:
        lake.put({"source": SOURCE.frame([{"clip_id": clip, "shard": ONE} for clip in "ab"])}, ONE, "f")
    return home


@pytest.fixture
def road(_prepared_road: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Road]:
    monkeypatch.setattr(step_module, "BY_NAME", {table.name: table for table in TABLES})
    shutil.copytree(_prepared_road, tmp_path / "home")
    with closing(lake_of_road(tmp_path / "home")) as lake:
        yield Road(lake)


@pytest.fixture
def three(road: Road) -> Road:
    """The same with three shards of a clip or two."""
    road.put_source("c", shard=TWO)
    road.put_source("d", shard=THREE)
    return road


@pytest.fixture
def quick_charts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every chart of a report is one grey pixel, for tests that look at none: drawing them costs more than all else in it."""
    drawn = io.BytesIO()
    Image.new("L", (1, 1)).save(drawn, "PNG")
    for name in ("funnel", "pose", "expression", "references", "identities", "similarity", "speech"):
        monkeypatch.setattr(report_module, f"{name}_png", lambda _: drawn.getvalue())
