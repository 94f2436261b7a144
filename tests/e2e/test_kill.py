"""Kill it anywhere, run it again: the tables are those of an undisturbed run."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lafid_assets.schemas import TABLES
from resources.shard_store import ShardStore
from tests.demo_home import PROJECT_ROOT, Demo, run_lafid

pytestmark = pytest.mark.e2e
KILLED_AFTER_S = (4.0, 7.0, 10.0, 13.0)


@pytest.fixture(scope="module")
def footage(demo: Demo, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plain folder with three of the demo's clips: kept, rejected and unreadable."""
    folder = tmp_path_factory.mktemp("footage")
    wanted = demo.rows(
        "(SELECT path FROM raw_clips JOIN lafid_dataset USING (clip_id, path) ORDER BY path LIMIT 1)"
        " UNION (SELECT path FROM raw_clips JOIN pose_filtered_clips USING (clip_id)"
        " WHERE pose_filtered_clips.reason = 'no_face' ORDER BY path LIMIT 1)"
        " UNION (SELECT path FROM raw_clips WHERE reason = 'unreadable' LIMIT 1)"
    )
    for (path,) in wanted:
        shutil.copy(demo.home / "sample_footage" / str(path), folder / f"{Path(str(path)).name}.mp4")
    assert len(list(folder.iterdir())) == 3
    return folder


def test_killed_runs_end_like_an_undisturbed_one(footage: Path, tmp_path: Path) -> None:
    undisturbed, disturbed = tmp_path / "undisturbed", tmp_path / "disturbed"
    arguments = ("curate", str(footage), "--clips-per-shard", "2")
    assert run_lafid(undisturbed, *arguments).returncode == 0
    for seconds in KILLED_AFTER_S:
        _kill_after(seconds, disturbed, *arguments)
    assert run_lafid(disturbed, *arguments).returncode == 0
    assert _digests(disturbed) == _digests(undisturbed)
    assert not [path for path in (disturbed / "store/tables").rglob("*") if path.is_file() and path.suffix != ".parquet"]


def _kill_after(seconds: float, home: Path, *arguments: str) -> None:
    command = [sys.executable, "-m", "lafid_assets.cli.main", *arguments]
    child = subprocess.Popen(
        command,
        cwd=PROJECT_ROOT,
        env=os.environ | {"LAFID_HOME": str(home)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        child.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()


def _digests(home: Path) -> dict[str, list[tuple[str, str]]]:
    store = ShardStore(str(home / "store"))
    found = {table.name: list(store.digests(table.name, None)) for table in TABLES}
    return {name: digests for name, digests in found.items() if digests}
