"""The review page in a real browser, on the demo's tables: watched, filtered, marked by keyboard, and calibrated by the marks."""

import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from lafid_assets.lake import open_lake
from lafid_assets.review.worklist import decisions_now
from lafid_assets.schemas import MARKS
from resources.settings import Settings
from tests.demo_home import PROJECT_ROOT, Demo, run_lafid
from tests.ui.graphql import PATIENCE_S, wait_for

CHROMIUM = shutil.which("chromium")
pytestmark = [pytest.mark.ui, pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed: apt-get install chromium")]


@pytest.fixture(scope="module")
def home(demo: Demo, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the demo's home, which marks change."""
    copied = tmp_path_factory.mktemp("review") / "home"
    shutil.copytree(demo.home, copied)
    return copied


@pytest.fixture
def address(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("LAFID_HOME", str(home))
    command = [sys.executable, "-m", "lafid_assets.cli.main", "review", "--no-browser", "--as", "ada"]
    with open(home / "review.log", "w") as log:
        process = subprocess.Popen(command, cwd=PROJECT_ROOT, stdout=log, stderr=log)

    def printed() -> str | None:
        assert process.poll() is None, (home / "review.log").read_text()
        found = re.search(r"http://\S+", (home / "review.log").read_text())
        return found and found[0]

    try:
        yield wait_for(printed, "the page's address")
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(timeout=PATIENCE_S)


@pytest.fixture
def page(address: str) -> Iterator[Any]:
    """The page, open; afterwards its browser has had nothing to complain of."""
    from playwright.sync_api import sync_playwright

    complaints: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1440, "height": 1000})
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda said: complaints.append(said.text) if said.type in ("error", "warning") else None)
        page.goto(address)
        yield page
        browser.close()
    assert complaints == []


def test_clips_are_watched_marked_by_keyboard_and_calibrated(page: Any, home: Path) -> None:
    from playwright.sync_api import expect

    expect.set_options(timeout=1000 * PATIENCE_S)
    # It plays, and the cursor moves along; a click on a track seeks.
    current = page.locator("#list li[aria-current]")
    expect(page.locator("#waiting")).to_be_hidden(timeout=1000 * PATIENCE_S)
    page.evaluate("document.querySelector('#video').muted = true")
    if page.evaluate("document.querySelector('#video').paused"):
        page.keyboard.press("Space")
    began_s = _time(page)
    wait_for(lambda: True if _time(page) != began_s else None, "the video's playing")
    page.keyboard.press("Space")
    for line in ("yaw", "similarity", "mouth"):
        expect(page.locator(f"#tracks .plot path.{line}")).to_have_count(1)
    box = page.locator("#tracks").bounding_box()
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + 50)
    length_s = page.evaluate("document.querySelector('#video').duration")
    assert _time(page) == pytest.approx(length_s / 2, abs=0.02)
    cursor = page.locator("#cursor").bounding_box()
    assert cursor["x"] - box["x"] == pytest.approx(box["width"] / 2, abs=4)
    expect(page.locator("#readout")).to_contain_text("yaw")

    # Filters narrow the list down, and stay in the address.
    total = int(re.search(r"of (\d+)", page.locator("#counted").inner_text())[1])
    page.select_option("[name=status]", "rejected")
    expect(page.locator("#list li .how", has_text="kept")).to_have_count(0)
    page.select_option("[name=reason]", "several_faces")
    expect(page.locator("#counted")).to_contain_text("0 of ")
    assert 0 < page.locator("#list li").count() < total
    page.click("button[type=reset]")
    expect(page.locator("#counted")).to_contain_text(f"0 of {total}")

    # Marks by keyboard: right, with a note; wrong; and the second one taken back.
    page.locator("#list li").first.click()
    first = current.locator(".id").inner_text()
    expect(page.locator("#right")).to_be_enabled()
    page.keyboard.press("n")
    page.keyboard.type("turns enough")
    page.keyboard.press("Escape")
    page.keyboard.press("r")
    expect(page.locator("#counted")).to_contain_text(f"1 of {total}")
    expect(current.locator(".id")).not_to_have_text(first)
    second = current.locator(".id").inner_text()
    expect(page.locator("#right")).to_be_enabled()
    page.keyboard.press("w")
    expect(page.locator("#counted")).to_contain_text(f"2 of {total}")
    page.keyboard.press("u")
    expect(page.locator("#counted")).to_contain_text(f"1 of {total}")
    expect(current.locator(".id")).to_have_text(second)
    page.keyboard.press("ArrowLeft")
    expect(current.locator(".id")).to_have_text(first)
    page.reload()
    expect(page.locator("#marks li")).to_contain_text("turns enough")
    expect(page.locator("#counted")).to_contain_text(f"1 of {total}")
    lake = Demo(home, "")
    assert lake.rows("SELECT clip_id, verdict, note, marker FROM marks") == [(first, "right", "turns enough", "ada")]

    # Somebody else marks all the others, as they are decided; calibrate reads both.
    _mark_others(home, first)
    calibrated = run_lafid(home, "calibrate", "--measure", "several_faces_share")
    assert f"{total} of {total} marked clips are decided today as they were marked (100%), by 2 persons" in calibrated.stdout
    assert "agrees with most" in calibrated.stdout


def _mark_others(home: Path, clip_id: str) -> None:
    with closing(open_lake(Settings(home=home, store_uri=str(home / "store")))) as lake:
        with lake.snapshot() as reader:
            decided = decisions_now(reader, reader.sql("SELECT clip_id FROM footage")["clip_id"].to_list())
            contents = reader.sql("SELECT clip_id, content_sha256 FROM footage")
        others = decided.filter(decided["clip_id"] != clip_id).join(contents, on="clip_id").with_columns(fault="reason")
        said = {"verdict": "right", "marker": "bob", "marked_at": "2026-01-01", "policy_sha256": None, "note": None}
        rows = [row | said | {"mark_id": row["clip_id"]} for row in others.to_dicts()]
        lake.put({MARKS.name: MARKS.frame(rows)})


def _time(page: Any) -> float:
    return float(page.evaluate("document.querySelector('#video').currentTime"))
