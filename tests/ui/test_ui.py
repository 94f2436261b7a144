"""The running UI without a browser: a shard materialized with a changed threshold, the schedule seen to tick, MLflow's UI."""

import shutil
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.demo_home import Demo
from tests.ui.graphql import PATIENCE_S, Webserver, wait_for
from tests.ui.serving import serving

pytestmark = pytest.mark.e2e
EVERY_MINUTE = "* * * * *"


@pytest.fixture(scope="module")
def home(demo: Demo, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the demo's home: what is done in the UI changes tables."""
    copied = tmp_path_factory.mktemp("ui") / "home"
    shutil.copytree(demo.home, copied)
    return copied


@pytest.fixture(scope="module")
def servers(home: Path) -> Iterator[tuple[Webserver, str]]:
    (home / "lafid.toml").write_text(f'version = 1\n[automation]\nrefresh_cron = "{EVERY_MINUTE}"\n')
    with serving(home) as addresses:
        yield addresses


def test_threshold_changed_in_the_launchpad_and_the_schedule_refreshes(servers: tuple[Webserver, str], home: Path) -> None:
    """The schedule starts a run for what is stale alone, as the dataset is after that change; of all shards, for shards under
    different policies would make none."""
    dagster, _ = servers
    lake = Demo(home, "")
    [(first, last)] = lake.rows("SELECT min(shard), max(shard) FROM clips")
    faces = "SELECT * FROM partitions WHERE table_name = 'face_info' ORDER BY ALL"
    before = lake.rows(faces)
    config = {"ops": {"pose_filtered_clips": {"config": {"pose_variation_min_deg": 80.0}}}}
    kept = "SELECT count(*) FROM pose_filtered_clips WHERE keep AND pose_variation_deg < 80"
    assert lake.rows(kept) != [(0,)]
    run_id = dagster.materialize("pose_filtered_clips", (first, last), config)
    assert wait_for(lambda: dagster.finished_status(run_id), "the run's end") == "SUCCESS"
    assert lake.rows(kept) == [(0,)]
    assert lake.rows(faces) == before
    dagster.start_schedule("nightly_refresh")
    tick = wait_for(lambda: dagster.last_schedule_tick("nightly_refresh"), "a tick of nightly_refresh")
    assert tick["status"] == "SUCCESS", tick
    (run_id,) = tick["runIds"]
    assert wait_for(lambda: dagster.finished_status(run_id), "the refresh") == "SUCCESS"


def test_mlflow_ui_answers(servers: tuple[Webserver, str]) -> None:
    with urllib.request.urlopen(servers[1], timeout=PATIENCE_S) as response:
        assert b"MLflow" in response.read()
