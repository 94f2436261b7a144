"""What the data team does in the UI: by clicks, in a browser, on a real `lafid ui`. No page may complain of anything.

One home and one server for all. The drop folder is watched from the beginning, for its looks are half a minute apart: the tests
that need no curated clip come first.
"""

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlencode

import dagster as dg
import pytest

from lafid_assets.ingest.listing import list_files
from lafid_assets.ingest.registration import register
from lafid_assets.lake import open_lake
from lafid_assets.sample_footage.build import TABLE_NAME, build_sample_footage
from lafid_assets.sample_footage.screenplay import KEPT
from resources.settings import Settings
from tests.demo_home import Demo
from tests.ui.graphql import Webserver, wait_for
from tests.ui.room import CHROMIUM, Room, browsing
from tests.ui.serving import serving

pytestmark = [
    pytest.mark.ui,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed: apt-get install chromium"),
]

GROUPS = ("ingest", "curation", "dataset", "training", "release")
SCRIPT = "<script>window.scripted = 1</script><img src=x onerror='window.scripted = 1'>[here](javascript:window.scripted=1)"
"""What a stranger may write into a caption."""
AWAY, ELSEWHERE = "camera 2", "unplugged"
"""A folder that has gone before its clips were read, and where it is meanwhile."""
SCENES = (KEPT[0], KEPT[4].model_copy(update={"caption": f"A person looks around. {SCRIPT}"}), KEPT[1])
"""The last one's file is late."""


@pytest.fixture(scope="module")
def footage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("footage") / "footage"
    build_sample_footage(folder, scenes=SCENES)
    return folder


@pytest.fixture(scope="module")
def home(footage: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table and its clips lie in the drop folder, all but one; a folder that was taken in before has gone."""
    home = tmp_path_factory.mktemp("room") / "home"
    shutil.copytree(footage / "clips", home / "drop" / "clips")
    shutil.copy(footage / TABLE_NAME, home / "drop")
    (home / "drop" / SCENES[-1].path).unlink()
    gone = home / AWAY
    gone.mkdir()
    shutil.copy(footage / SCENES[0].path, gone / "a.mp4")
    settings = Settings(home=home, store_uri=str(home / "store"))
    lake = open_lake(settings)
    [shard] = register(lake, list_files(gone)).shards
    lake.close()
    gone.rename(home / ELSEWHERE)
    with _instance(settings) as instance:
        instance.add_dynamic_partitions("clip_shards", [shard])
    return home


@contextmanager
def _instance(settings: Settings) -> Iterator[dg.DagsterInstance]:
    with pytest.MonkeyPatch.context() as patch:
        for name in ("LAFID_HOME", "DAGSTER_HOME"):
            patch.setenv(name, str(settings.home))
        settings.prepare()
        with dg.DagsterInstance.get() as instance:
            yield instance


@pytest.fixture(scope="module")
def dagster(home: Path) -> Iterator[Webserver]:
    with serving(home) as (webserver, _):
        yield webserver


@pytest.fixture(scope="module")
def _browser(dagster: Webserver) -> Iterator[Room]:
    with browsing(dagster.address) as room:
        yield room


@pytest.fixture
def room(_browser: Room, _watched: None) -> Iterator[Room]:
    """The page; a test in which it complains fails."""
    yield _browser
    complaints, _browser.complaints = _browser.complaints, []
    assert not complaints


@pytest.fixture(scope="module")
def failing(dagster: Webserver) -> str:
    """A run of the shard whose folder has gone; before others, so that it waits for none of them."""
    [away] = dagster.shards()
    return dagster.materialize("raw_clips", away, {})


@pytest.fixture(scope="module")
def waiting(dagster: Webserver, failing: str, home: Path) -> Iterator[str]:
    """A backfill whose run waits for another process, which computes its shard."""
    wait_for(lambda: dagster.finished_status(failing), "the failing run's end")
    [away] = dagster.shards()
    lake = open_lake(Settings(home=home, store_uri=str(home / "store")))
    try:
        with lake.leases.held(f"pose_filtered_clips/{away}"):
            yield dagster.backfill("pose_filtered_clips", [away])
    finally:
        lake.close()


@pytest.fixture(scope="module")
def _watched(_browser: Room, waiting: str, dagster: Webserver, home: Path, footage: Path) -> None:
    """The sensor switched on by a click; the late file comes when it has looked once."""
    _browser.open("/locations/lafid/sensors/clip_drop")
    _browser.page.locator("label:has(input[type=checkbox])").first.click()
    wait_for(lambda: dagster.last_sensor_tick("clip_drop"), "a look of clip_drop")
    shutil.copy(footage / SCENES[-1].path, home / "drop" / SCENES[-1].path)


@pytest.fixture(scope="module")
def shards(dagster: Webserver, home: Path, _watched: None) -> list[str]:
    """The drop folder's, curated to the end, with the late clip."""
    lake = Demo(home, "")

    def curated() -> list[str] | None:
        clips = lake.rows("SELECT shard FROM raw_clips WHERE status = 'ok' ORDER BY shard")
        done = {name for (name,) in lake.rows("SELECT partition FROM partitions WHERE table_name = 'reference_crops'")}
        ended = set(dagster.statuses("curate_shard")) <= {"SUCCESS", "FAILURE"}
        names = [str(name) for (name,) in clips]
        return sorted(set(names)) if ended and len(names) == len(SCENES) and done >= set(names) else None

    return wait_for(curated, "the curation of the late file")


def test_the_graph_has_the_five_groups_of_the_mission(room: Room) -> None:
    room.open("/asset-groups")
    for group in GROUPS:
        room.see(group)
    room.open(f"/asset-groups?{urlencode({'expanded': ','.join(f'global@global:{group}' for group in GROUPS)})}")
    for asset in ("raw_clips", "lafid_dataset", "registered_model"):
        room.see(asset)


def test_a_shard_that_cannot_exist_is_not_made(room: Room, dagster: Webserver) -> None:
    room.open("/assets/raw_clips?view=partitions")
    room.page.get_by_role("button", name="Materialize").first.click()
    room.page.get_by_text("Add a partition").click()
    room.page.get_by_placeholder("name", exact=True).fill("shard-00007")
    room.press("Save")
    room.see("no clips are in a shard shard-00007: shards are made of files")
    room.picture("partition-refused")
    assert "shard-00007" not in dagster.shards()


def test_a_value_that_does_not_fit_is_refused_in_the_launchpad(room: Room) -> None:
    room.launchpad("pose_filtered_clips", "ops:\n  pose_filtered_clips:\n    config:\n      pose_variation_min_deg: many\n")
    room.see(re.compile('Value "many" of type .* is not valid for expected type "Float"'))
    room.picture("launchpad-refused")
    assert room.page.get_by_role("button", name="Materialize").last.is_disabled()


def test_a_failed_run_says_why_in_its_first_line(room: Room, dagster: Webserver, failing: str) -> None:
    wait_for(lambda: dagster.finished_status(failing), "the run's end")
    room.open("/runs")
    room.page.get_by_text(failing[:8]).click()
    assert room.ending() == "Failure"
    line = room.first_line_after("STEP_FAILURE")
    for told in ("shard-00000", AWAY, "mount it"):
        assert told in line, line
    room.picture("run-failed", scrolled_px=420)


def test_a_cancelled_backfill_ends_the_run_that_waits(room: Room, dagster: Webserver, waiting: str) -> None:
    def started() -> bool | None:
        return list(dagster.runs_of_backfill(waiting).values()) == ["STARTED"] or None

    wait_for(started, "the backfill's run")
    dagster.cancel_backfill(waiting)
    [run] = dagster.runs_of_backfill(waiting)
    assert wait_for(lambda: dagster.finished_status(run), "the run's end") == "CANCELED"
    room.open(f"/runs/{run}")
    assert room.ending() == "Canceled"


def test_files_that_are_dropped_are_curated_and_so_is_the_late_one(room: Room, dagster: Webserver, shards: list[str]) -> None:
    assert set(dagster.statuses("curate_shard")) == {"SUCCESS"}
    room.open("/assets/reference_crops?view=partitions")
    room.see(f"Materialized ({len(shards)})")
    room.open("/automation")
    room.see("clip_drop")
    room.page.locator("label:has(input:checked)").first.wait_for()
    room.picture("automation")


def test_a_shard_is_materialized_by_clicks(room: Room, shards: list[str]) -> None:
    assert room.materialize("pose_filtered_clips", shards[0]) == "Success"
    room.open("/assets/pose_filtered_clips?view=partitions")
    room.see(f"Materialized ({len(shards)})")


def test_the_dataset_is_refreshed_and_its_pictures_are_seen(room: Room, dagster: Webserver, shards: list[str]) -> None:
    room.open("/locations/lafid/jobs/refresh_dataset")
    room.press("Materialize all")
    wait_for(lambda: dagster.statuses("refresh_dataset") == ["SUCCESS"] or None, "the refresh")
    room.open("/assets/dataset_report?view=overview")
    shown = room.page.get_by_text("[Show Markdown]")
    shown.first.wait_for()
    for number in range(shown.count()):
        shown.nth(number).click()
        picture = room.page.get_by_role("dialog").locator("img").first
        picture.wait_for()
        assert picture.evaluate("picture => picture.decode().then(() => picture.naturalWidth)") > 100
        if number == 0:
            room.picture("report-picture")
        room.press("Close")
    assert room.page.evaluate("window.scripted") is None


def test_numbers_plot_and_a_check_has_a_history(room: Room, shards: list[str]) -> None:
    room.open("/assets/pose_filtered_clips?view=overview")
    room.page.get_by_role("button", name="Plots").click()
    room.see("dagster/row_count")
    room.page.locator("canvas").first.wait_for()
    room.picture("asset-plots")
    room.open("/assets/pose_filtered_clips?view=checks")
    room.see("counts_add_up")
    room.see("violations")
    room.page.locator("canvas").first.wait_for()
    room.picture("asset-checks")
    room.page.get_by_text("Execution history").click()
    room.page.get_by_text("Passed").nth(1).wait_for()
    room.open(f"/asset-groups?{urlencode({'expanded': ','.join(f'global@global:{group}' for group in GROUPS)})}")
    room.see("lafid_dataset")
    room.page.wait_for_load_state("networkidle")
    room.picture("asset-graph")


def test_a_failed_run_is_healed_from_failure(room: Room, dagster: Webserver, failing: str, home: Path, shards: list[str]) -> None:
    (home / ELSEWHERE).rename(home / AWAY)
    room.open(f"/runs/{failing}")
    room.ending()
    room.page.locator('xpath=//button[contains(., "Re-execute")]/following::button[1]').first.click()
    room.page.get_by_role("menuitem", name="From failure").click()
    room.page.wait_for_url(lambda url: failing not in url)
    assert room.ending() == "Success"
    [row] = Demo(home, "").rows(f"SELECT path, clip_shard FROM clip_contents WHERE clip_root = '{home / AWAY}'")
    assert row[0] == "a.mp4"
    assert row[1] in shards, "it is a copy of a clip that was dropped"
