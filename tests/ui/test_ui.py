"""The running UI: a shard materialized with a changed threshold, sensor and schedule seen to tick, the asset graph drawn."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.demo_home import PROJECT_ROOT, Demo
from tests.ui.graphql import Webserver, wait_for

pytestmark = pytest.mark.ui
EVERY_MINUTE = "* * * * *"


@pytest.fixture(scope="module")
def home(demo: Demo, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the demo's home: what is done in the UI changes tables."""
    copied = tmp_path_factory.mktemp("ui") / "home"
    shutil.copytree(demo.home, copied)
    return copied


@pytest.fixture(scope="module")
def servers(home: Path) -> Iterator[tuple[Webserver, str]]:
    """`lafid ui` on free ports: the Dagster webserver and the address of the MLflow UI."""
    port, mlflow_port = _free_port(), _free_port()
    command = [sys.executable, "-m", "lafid_assets.cli.main", "ui", "--port", str(port), "--mlflow-port", str(mlflow_port)]
    (home / "lafid.toml").write_text(f'version = 1\n[automation]\nrefresh_cron = "{EVERY_MINUTE}"\n')
    environment = os.environ | {"LAFID_HOME": str(home)}
    with open(home / "ui.log", "w") as log:
        process = subprocess.Popen(command, cwd=PROJECT_ROOT, env=environment, stdout=log, stderr=log)
    try:

        def announced() -> bool | None:
            assert process.poll() is None, (home / "ui.log").read_text()
            return True if "Ctrl-C ends both" in (home / "ui.log").read_text() else None

        wait_for(announced, 240, "`lafid ui` announcing its addresses")
        yield Webserver(f"http://127.0.0.1:{port}"), f"http://127.0.0.1:{mlflow_port}"
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=60)


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
    assert wait_for(lambda: dagster.finished_status(run_id), 120, "the run's end") == "SUCCESS"
    assert lake.rows(kept) == [(0,)]
    assert lake.rows(faces) == before
    dagster.start_schedule("nightly_refresh")
    tick = wait_for(lambda: dagster.last_schedule_tick("nightly_refresh"), 150, "a tick of nightly_refresh")
    assert tick["status"] == "SUCCESS", tick
    (run_id,) = tick["runIds"]
    assert wait_for(lambda: dagster.finished_status(run_id), 180, "the refresh") == "SUCCESS"


def test_sensor_ticks_and_makes_a_shard(servers: tuple[Webserver, str], home: Path) -> None:
    dagster, _ = servers
    drop = home / "drop"
    drop.mkdir()
    clip = next(path for path in (home / "sample_footage/clips").rglob("*") if path.is_file() and path.stat().st_size > 10_000)
    (drop / "new.mp4").write_bytes(clip.read_bytes())
    dagster.start_sensor("clip_drop")

    def asked() -> dict[str, Any] | None:
        """The first look finds the file, the second finds it settled."""
        tick = dagster.last_sensor_tick("clip_drop")
        return None if tick is None or tick["status"] == "SKIPPED" else tick

    tick = wait_for(asked, 150, "a tick of clip_drop that asks for a run")
    assert tick["status"] == "SUCCESS", tick
    (run_id,) = tick["runIds"]
    assert wait_for(lambda: dagster.finished_status(run_id), 240, "the new shard's run") == "SUCCESS"
    assert Demo(home, "").rows("SELECT count(*) FROM raw_clips WHERE path = 'new.mp4' AND status = 'ok'") == [(1,)]


def test_mlflow_ui_answers(servers: tuple[Webserver, str]) -> None:
    with urllib.request.urlopen(servers[1], timeout=30) as response:
        assert b"MLflow" in response.read()


@pytest.mark.skipif(shutil.which("chromium") is None, reason="Chromium is not installed: apt-get install chromium")
def test_asset_graph_is_drawn(servers: tuple[Webserver, str], tmp_path: Path) -> None:
    from playwright.sync_api import sync_playwright

    dagster, _ = servers
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1900, "height": 1000})
        broken: list[str] = []
        page.on("pageerror", lambda error: broken.append(str(error)))
        expanded = ",".join(f"global@global:{group}" for group in ("dataset", "release"))
        page.goto(f"{dagster.address}/asset-groups?{urllib.parse.urlencode({'expanded': expanded})}")
        page.get_by_text("lafid_dataset").first.wait_for(timeout=60_000)
        page.get_by_text("registered_model").first.wait_for(timeout=60_000)
        browser.close()
    assert not broken


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
