"""Taking a folder in as `lafid curate` does: registered, then every shard's files opened and bound. Nothing looks at pixels."""

from collections.abc import Callable
from pathlib import Path

import pytest

from lafid_assets.ingest.listing import list_files
from lafid_assets.ingest.raw_clips import ShardFiles
from lafid_assets.ingest.registration import Registered, register
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
