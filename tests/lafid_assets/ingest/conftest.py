"""Taking a folder in as `lafid curate` does: registered, then every shard's files opened and bound. Nothing looks at pixels."""

import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from lafid_assets.ingest import raw_clips as module
from lafid_assets.ingest.listing import list_files
from lafid_assets.ingest.raw_clips import ShardFiles
from lafid_assets.ingest.registration import Registered, register
from lafid_assets.workers.pool import Done
from resources.lake.lake import Lake


@pytest.fixture
def bring_up(lake: Lake) -> Callable[[str], list[str]]:
    """Brings `clips` of a shard up to date and gives the paths that were opened or looked for."""

    def one(shard: str) -> list[str]:
        files = ShardFiles(lake, shard)
        frames = files.open_files().bound(lake)
        lake.put(frames, shard, "f", revise=lambda writer, _: files.claimed(writer))
        return sorted(path for _, path in files.probed)

    return one


@pytest.fixture
def take_in(lake: Lake, bring_up: Callable[[str], list[str]]) -> Callable[[Path], tuple[Registered, list[str]]]:
    """Registers a folder and brings its shards up to date; gives what was registered and the paths that were opened."""

    def taken(folder: Path) -> tuple[Registered, list[str]]:
        registered = register(lake, list_files(folder), 10)
        return registered, [path for shard in registered.shards for path in bring_up(shard)]

    return taken


@pytest.fixture(scope="session")
def _three_films(tmp_path_factory: pytest.TempPathFactory, write_video: Callable[..., Path]) -> Path:
    folder = tmp_path_factory.mktemp("films")
    for number, name in enumerate(("one", "two", "three"), 1):
        write_video(folder / f"{name}.mp4", seconds=number / 2)
    return folder


@pytest.fixture
def films(_three_films: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three small videos of different lengths, and so of different contents, to be copied. They harm nobody: they are opened in
    this process, for children cost most of such a test; `released` has them opened in children."""

    def here(work: Callable[[Any], Any], tasks: Sequence[Any], *_: object, **__: object) -> Iterator[tuple[int, Done[Any]]]:
        yield from ((index, Done(work(task))) for index, task in enumerate(tasks))

    monkeypatch.setattr(module, "map_footage", here)
    return _three_films


@pytest.fixture
def folder(films: Path, tmp_path: Path) -> Path:
    """A plain folder with two of them."""
    folder = tmp_path / "plain"
    folder.mkdir()
    for name in ("one", "two"):
        shutil.copy2(films / f"{name}.mp4", folder)
    return folder
