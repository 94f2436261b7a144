"""Kept versions with real files: what is exported."""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
import pytest

from lafid_assets.dataset.lafid_dataset import Dataset
from lafid_assets.dataset.versions import Facts, find_version
from lafid_assets.ingest.media_probe import content_sha256
from lafid_assets.lake import open_lake
from resources.lake.lake import Lake
from resources.settings import Settings
from tests.once import built_once

Tables = dict[str, pl.DataFrame]


class Kept(NamedTuple):
    """A version and the lake that holds it; the clips' files lie in the folder `footage` beside its home."""

    lake: Lake
    facts: Facts


@pytest.fixture(scope="session")
def _versions(
    _empty_home: Path,
    tmp_path_factory: pytest.TempPathFactory,
    curated: Callable[..., Tables],
    keep_in: Callable[[Lake, Tables, Path], Dataset],
    write_video: Callable[..., Path],
) -> Iterator[Callable[..., Kept]]:
    lakes: dict[Path, Lake] = {}

    def opened(folder: Path) -> Kept:
        if folder not in lakes:
            lakes[folder] = open_lake(_settings(folder), read_only=True)
        return Kept(lakes[folder], find_version(lakes[folder], (folder / "version").read_text()))

    def make(folder: Path, persons: dict[str, str | None], models: dict[str, str], licences: dict[str, str]) -> None:
        shutil.copytree(_empty_home, folder / "home")
        lake = open_lake(_settings(folder))
        tables = _tables(curated, write_video, folder / "footage", persons, models, licences)
        for clip in persons:
            lake.store.write_bytes(f"crops/{clip}.png", f"picture of {clip}".encode())
        (folder / "version").write_text(keep_in(lake, tables, folder).version.name)
        lake.close()

    def get(own: Path | None, persons: dict[str, str | None], models: dict[str, str] | None = None, **licences: str) -> Kept:
        told: tuple[Any, ...] = (persons, models or {}, licences)
        if own is not None:
            make(own, *told)
            return opened(own)
        name = hashlib.sha256(json.dumps(told).encode()).hexdigest()[:16]
        return opened(built_once(tmp_path_factory, f"version {name}", lambda folder: make(folder, *told)))

    yield get
    for lake in lakes.values():
        lake.close()


@pytest.fixture(scope="session")
def version(_versions: Callable[..., Kept]) -> Callable[..., Kept]:
    """Keeps clips as {clip: person} under a licence each ("CC0-1.0" unless named), with files and one reference picture each;
    built once and only to be looked at."""

    def make(*persons_and_models: Any, **licences: str) -> Kept:
        return _versions(None, *persons_and_models, **licences)

    return make


@pytest.fixture
def own_version(_versions: Callable[..., Kept], tmp_path: Path) -> Callable[..., Kept]:
    """The same for a test that changes its files, in a folder `own` of the test's."""

    def make(*persons_and_models: Any, **licences: str) -> Kept:
        return _versions(tmp_path / "own", *persons_and_models, **licences)

    return make


def _settings(folder: Path) -> Settings:
    return Settings(home=folder / "home", store_uri=str(folder / "home" / "store"))


def _tables(
    curated: Callable[..., Tables],
    write_video: Callable[..., Path],
    root: Path,
    persons: dict[str, str | None],
    models: dict[str, str],
    licences: dict[str, str],
) -> Tables:
    tables = curated(persons, str(root))
    contents = {
        clip: content_sha256(write_video(root / clip, seconds=0.2 + 0.1 * number)) for number, clip in enumerate(sorted(persons))
    }
    tables["clips"] = tables["clips"].with_columns(content_sha256=pl.col("clip_id").replace(contents))
    of_clip = {clip: licences.get(clip, "CC0-1.0") for clip in persons}
    tables["clip_rows"] = tables["clip_rows"].with_columns(licence=pl.col("path").replace_strict(of_clip))
    heard = pl.col("clip_id").replace_strict(models, default=None, return_dtype=pl.String)
    tables["speech_info"] = tables["speech_info"].with_columns(
        has_audio=pl.lit(False),
        transcriber=heard,
        transcriber_licence=heard.replace_strict({"my-whisper": "unstated"}, default=None),
    )
    with_picture = pl.col("reference_index") == 0
    path_of = pl.format("crops/{}.png", "clip_id")
    tables["reference_crops"] = tables["reference_crops"].with_columns(
        face_path=pl.when(with_picture).then(path_of), head_path=pl.when(with_picture).then(path_of)
    )
    return tables
