"""A painted world for the tests of the bench, looked at in the test's own process."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from lafid_assets.release import bench_building, bench_looks, lafid_bench
from lafid_assets.workers import Done, Failed
from resources.file_store import FileStore
from tests.lafid_assets.release.painted import PaintedClip, PaintedEngine, PaintedWorld, paint


@pytest.fixture
def painted(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    store: FileStore,
    row_of: Callable[..., dict[str, Any]],
    write_video: Callable[..., Path],
) -> Callable[..., PaintedWorld]:
    """Paints clips, and has everything that looks at them use the engine of painted faces, without child processes."""

    def here(work: Callable[[Any], Any], tasks: Sequence[Any], deadline_s: Callable[[Any], float]) -> Iterator[tuple[int, Any]]:
        for index, task in enumerate(tasks):
            assert deadline_s(task) > 0
            try:
                yield index, Done(work(task))
            except Exception as error:
                yield index, Failed(f"{type(error).__name__}: {error}")

    monkeypatch.setattr(bench_building, "map_isolated", here)
    monkeypatch.setattr(bench_looks, "load_face_engine", lambda _: PaintedEngine())
    monkeypatch.setattr(lafid_bench, "face_engine_info", lambda _: PaintedEngine.info)
    bench_looks._engine.cache_clear()

    def make(*clips: PaintedClip) -> PaintedWorld:
        return paint(clips, tmp_path / "footage", store, row_of, write_video)

    yield make
    bench_looks._engine.cache_clear()
