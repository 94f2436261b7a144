"""The page stands alone."""

import base64
import re

from lafid_assets.dataset.report_page import png_address, render_page

FUNNEL = {
    "in": 7,
    "kept": 2,
    "rejected": {"no_face": 3},
    "error": {"unreadable": 1},
    "timeout": 1,
    "skipped": {},
    "dataset_version": "v1",
}


def _page(notes: tuple[str, ...] = ()) -> str:
    return render_page(FUNNEL, {"train": {"clips": 2, "identities": 1}}, [("policy", "a < b")], {"A & B": b"png"}, list(notes))


def test_page_needs_nothing_outside_itself() -> None:
    page = _page()
    assert not re.search(r"(https?:)?//|url\(|<script|<link|@import", page.replace(png_address(b"png"), ""))
    assert re.findall(r'src="([^"]*)"', page) == [f"data:image/png;base64,{base64.b64encode(b'png').decode()}"]


def test_page_shows_every_ending_with_its_number() -> None:
    cells = re.findall(r"<td>(.*?)</td><td>(.*?)</td><td>(.*?)</td>", _page())
    assert cells == [
        ("kept", "", "2"),
        ("timeout", "", "1"),
        ("rejected", "no_face", "3"),
        ("error", "unreadable", "1"),
        ("train", "2", "1"),
    ]
    assert "7 clips came in, 2 are kept" in _page()


def test_what_comes_from_outside_is_escaped() -> None:
    page = _page(("<script>alert(1)</script>",))
    assert "<script>" not in page
    assert "A &amp; B" in page
