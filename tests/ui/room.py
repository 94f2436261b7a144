"""One page of a real browser on Dagster's UI: what a person does there by clicks, and what the page complains of.

Belongs here: how Dagster's pages are worked. Not here: what a test expects of LaFID. Waits are for states of the page, with a
patience that a busy machine does not use up.
"""

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, ViewportSize, sync_playwright

from tests.ui.graphql import PATIENCE_S

CHROMIUM = shutil.which("chromium")
VIEWPORT: ViewportSize = {"width": 1500, "height": 940}
PICTURES = os.environ.get("LAFID_PICTURES")
"""The folder that the docs' pictures go to; `make browser PICTURES=folder`."""
_ENDINGS = re.compile("^(Success|Failure|Canceled)$")


@dataclass
class Room:
    """A page, and its complaints since it was opened: errors of its scripts and its console, requests that failed."""

    page: Page
    address: str
    complaints: list[str] = field(default_factory=list)

    def open(self, path: str) -> None:
        self.page.goto(f"{self.address}{path}")

    def press(self, name: str) -> None:
        """The last button of that name: a dialog's lies over the page's."""
        self.page.get_by_role("button", name=name).last.click()

    def see(self, text: str | re.Pattern[str]) -> None:
        """Wait until the text can be seen."""
        self.page.get_by_text(text).filter(visible=True).first.wait_for()

    def first_line_after(self, event: str) -> str:
        """Of an event in the log of the run whose page this is."""
        width, height = 1500, 3000  # the log makes no rows that cannot be seen
        self.page.set_viewport_size({"width": width, "height": height})
        self.see(event)
        lines = [line for line in self.page.locator("body").inner_text().splitlines() if line.strip()]
        self.page.set_viewport_size(VIEWPORT)
        return lines[lines.index(event) + 1]

    def materialize(self, asset: str, shard: str) -> str:
        """Launch a run of one shard from the asset's page, and open the run's page; its status when it has ended."""
        self.open(f"/assets/{asset}?view=partitions")
        self.see(shard)
        self.page.get_by_role("button", name="Materialize").first.click()
        self.page.get_by_text("Select a partition or create one").click()
        self.page.get_by_placeholder("Filter partitions").fill(shard)
        self.page.locator("label:has(input[type=checkbox])").filter(has_text=shard).last.click()
        # The list closes; where it is drawn over the dialog's own text no mouse reaches that.
        self.page.get_by_text("Partition selection").dispatch_event("mousedown")
        self.press("Launch 1 run")
        self.page.get_by_text("View", exact=True).click()
        return self.ending()

    def ending(self) -> str:
        """Of the run whose page this is."""
        status = self.page.get_by_text(_ENDINGS).first
        status.wait_for()
        return status.inner_text()

    def launchpad(self, asset: str, config: str) -> None:
        """Open the asset's launchpad and write a run's config there."""
        self.open(f"/assets/{asset}?view=overview")
        self.page.locator('xpath=//button[contains(., "Materialize")]/following::button[1]').first.click()
        self.page.get_by_role("menuitem", name="Open launchpad").click()
        editor, anyway = self.page.locator(".CodeMirror").first, self.page.get_by_role("button", name="Confirm")
        editor.or_(anyway).first.wait_for()
        if anyway.is_visible():  # Dagster warns of assets further up that were never materialized
            anyway.click()
        editor.click()
        self.page.keyboard.press("Control+A")
        self.page.keyboard.insert_text(config)

    def picture(self, name: str, *, scrolled_px: int = 0) -> None:
        """Keep the page as a picture of the docs, where one is asked for, with its lower half scrolled."""
        if PICTURES:
            Path(PICTURES).mkdir(parents=True, exist_ok=True)
            self.page.mouse.move(VIEWPORT["width"] / 2, VIEWPORT["height"] * 3 / 4)
            self.page.mouse.wheel(0, scrolled_px)
            self.page.wait_for_load_state("networkidle")
            self.page.screenshot(path=Path(PICTURES) / f"{name}.png")


@contextmanager
def browsing(address: str) -> Iterator[Room]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport=VIEWPORT)
        page.set_default_timeout(1000 * PATIENCE_S)
        room = Room(page, address)

        def console(message: Any) -> None:
            if message.type == "error":
                room.complaints.append(message.text)

        def failed(request: Any) -> None:
            if request.failure != "net::ERR_ABORTED":  # the page was left before its answer came
                room.complaints.append(f"{request.url}: {request.failure}")

        def answered(response: Any) -> None:
            if response.status >= 400:
                room.complaints.append(f"{response.url}: {response.status}")

        page.on("pageerror", lambda error: room.complaints.append(str(error)))
        page.on("console", console)
        page.on("requestfailed", failed)
        page.on("response", answered)
        yield room
        browser.close()
