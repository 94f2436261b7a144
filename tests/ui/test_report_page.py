"""The report in a real browser: nothing of what strangers wrote runs, filters choose, and it fits a phone."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lafid_assets.dataset.report_page import render_page
from tests.lafid_assets.dataset.test_report_page import planted_report
from tests.page_elements import EVIL

pytestmark = [
    pytest.mark.ui,
    pytest.mark.skipif(shutil.which("chromium") is None, reason="Chromium is not installed: apt-get install chromium"),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        yield opened
        opened.close()


def test_nothing_runs_and_nothing_is_asked_for(browser: Any, tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    file.write_text(render_page(planted_report()), encoding="utf-8")
    page = browser.new_page()
    seen: list[str] = []
    page.on("dialog", lambda dialog: (seen.append(f"dialog {dialog.message}"), dialog.dismiss()))
    page.on("pageerror", lambda error: seen.append(str(error)))
    page.on("request", lambda request: None if request.url.startswith(("file:", "data:")) else seen.append(request.url))
    page.on("console", lambda message: seen.append(message.text))
    page.goto(file.as_uri())
    for element in page.locator("figure[data-clip], td").all()[:40]:
        element.hover(force=True)
    assert seen == []
    assert page.title() == "LaFID dataset v2"
    injected = "script:not(:last-of-type), [onerror], [onload], [onmouseover], b b, i, img:not([src^='data:']), a"
    assert page.locator(injected).count() == 0
    assert page.locator("script").count() == 1
    assert page.locator("figure.kept figcaption").first.inner_text().count(EVIL) >= 2
    page.close()


def test_filters_show_the_clips_of_one_source_reason_or_person(browser: Any, tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    file.write_text(render_page(planted_report()), encoding="utf-8")
    page = browser.new_page()
    page.goto(file.as_uri())
    shown = page.locator("[data-clip]:visible")
    everything = page.locator("[data-clip]").count()
    assert page.locator("output").inner_text() == f"{everything} of {everything} clips that are shown here"
    page.select_option("select[name=person]", "person 1")
    assert shown.count() == 10
    page.select_option("select[name=person]", EVIL)
    assert [shown.nth(n).get_attribute("data-person") for n in range(shown.count())] == [EVIL]
    page.select_option("select[name=person]", index=0)
    page.select_option("select[name=reason]", "no_face")
    assert [shown.nth(n).get_attribute("data-clip") for n in range(shown.count())] == ["rejected"]
    page.close()


@pytest.mark.parametrize(("width", "abreast"), [(1440, 2), (390, 1)])
def test_the_page_fits_its_window(browser: Any, tmp_path: Path, width: int, abreast: int) -> None:
    file = tmp_path / "report.html"
    file.write_text(render_page(planted_report("a caption of some length")), encoding="utf-8")
    page = browser.new_page(viewport={"width": width, "height": 900})
    page.goto(file.as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    lefts = page.locator("figure.kept:visible").evaluate_all("all => all.map(one => one.getBoundingClientRect().left)")
    assert len(set(lefts)) == abreast
    page.close()
