"""A painted world for the tests of the bench, looked at in the test's own process."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lafid_assets.release import bench_looks
from resources.store.file_store import FileStore
from tests.lafid_assets.release.painted import PaintedClip, PaintedWorld, look_at_painted_faces, paint


@pytest.fixture
def painted(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    store: FileStore,
    row_of: Callable[..., dict[str, Any]],
    write_video: Callable[..., Path],
) -> Callable[..., PaintedWorld]:
    """Paints clips, and has everything that looks at them use the engine of painted faces, without child processes."""

    look_at_painted_faces(monkeypatch)

    def make(*clips: PaintedClip) -> PaintedWorld:
        return paint(clips, tmp_path / "footage", store, row_of, write_video)

    yield make
    bench_looks._engine.cache_clear()
