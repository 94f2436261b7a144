"""The page stands alone, shows everything with its number, and what strangers wrote is text."""

from dataclasses import replace
from typing import Any

import polars as pl
import pytest

from lafid_assets.dataset.contact_sheet import STRIPS_A_PAGE, Strip
from lafid_assets.dataset.report_outcomes import Failed, Shards
from lafid_assets.dataset.report_page import Change, Report, render_page
from lafid_assets.dataset.version_diff import NO_LONGER_IN, ROWS, summarize
from tests.page_elements import EVIL, Page

FUNNEL = {
    "in": 7,
    "kept": 2,
    "rejected": {"no_face": 3},
    "error": {"unreadable": 1},
    "timeout": 1,
    "skipped": {},
    "dataset_version": "v2",
}


def _facts(name: str, clips: int, **more: Any) -> dict[str, Any]:
    facts = {"dataset_version": name, "made_at": "2026-11-28T21:43:00+00:00", "clips": clips, "identities": 1}
    return facts | {"erased_clips": 0, "decided_by": "{}"} | more


def _change(*rows: tuple[str, str, str, str, bool | None]) -> Change:
    frame = pl.DataFrame(rows, schema=ROWS, orient="row")
    return Change.of(summarize(_facts("v1", 3), _facts("v2", 2, decided_by="[]"), frame), frame)


def planted_report(said: str = EVIL) -> Report:
    """A report in which strangers wrote the same into everything that is theirs."""
    examples = [{"clip_id": f"{said} {n}", "path": said, "source": said, "caption": said, "detail": said} for n in range(3)]
    shard = {"shard": said, "clips": 7, "kept": 2, "rejected": 3, "failed": 2, "skipped": 0}
    kept = Strip(f"{said} kept", "s", 1.0, f"{said}  silent", person=said, path=said, source=said, caption=said)
    others = [replace(kept, clip_id=f"k{n}", person=f"person {n % 2}", source="a film") for n in range(STRIPS_A_PAGE)]
    rejected = replace(kept, clip_id="rejected", label="no_face", person="", reason="no_face")
    return Report(
        made_at="2026-11-29T23:43:10+02:00",
        funnel=FUNNEL,
        change=_change(
            ("a", "came", said, said, None), ("b", "went", said, said, True), ("vanished", "went", "", NO_LONGER_IN, False)
        ),
        splits=[("train", 2, 1)],
        failed=[Failed("error", "raw_clips", "unreadable", "look at it", 5, examples)],
        shards=Shards([shard] * 60, 3, 21, 6),
        decided_by=[("kept from", said)],
        charts={f"A & B {said}": b"png"},
        strips=[kept, *others, rejected],
        pictures={kept.clip_id: b"jpeg", "k1": b"jpeg"},
        notes=[said],
    )


@pytest.fixture(scope="module")
def page() -> Page:
    return Page(render_page(planted_report()))


def test_what_strangers_wrote_is_text_and_nothing_else(page: Page) -> None:
    page.require_harmless(scripts=1)
    assert page.text.count(EVIL) > 30
    assert {"data-clip": f"{EVIL} kept", "data-source": EVIL, "data-reason": "", "data-person": EVIL, "class": "kept"} in page.of(
        "figure"
    )


def test_page_needs_nothing_outside_itself(page: Page) -> None:
    names = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(set(names)) == len(names)
    pictures = [image["src"].partition(";")[0] for image in page.of("img")]
    assert pictures == ["data:image/png", "data:image/jpeg", "data:image/jpeg"]


def test_every_ending_stands_with_its_number(page: Page) -> None:
    for words in ("7 clips came in, 2 are kept", "kept 2 timeout 1 rejected no_face 3 error unreadable 1", "train 2 1"):
        assert words in page.text


def test_the_page_says_when_and_what_changed(page: Page) -> None:
    assert "Made 2026-11-29 21:43 UTC ." in page.text
    assert "The version before is v1, made 2026-11-28 21:43 UTC." in page.text
    figures = "clips 3 → 2 gained 1 lost by a decision 1 lost by anything else 1 persons 1 → 1 captions changed 0"
    assert figures in page.text
    assert "Clips were lost that nobody decided against." in page.text
    assert "Policies or measuring models differ" in page.text
    assert "went it does not come in any more 1" in page.text
    assert "vanished" not in page.text, "a clip that the version does not know would outlive being forgotten"
    assert "lafid diff v1 v2" in page.text
    quiet = Page(render_page(replace(planted_report(""), change=_change(("b", "went", "x", "x", True)))))
    assert "nobody decided against" not in quiet.text
    assert "This is the first version." in Page(render_page(replace(planted_report(""), change=None))).text


def test_what_failed_says_what_to_do(page: Page) -> None:
    assert "error: unreadable, at raw_clips: 5 clips What to do: look at it. the first 3 of 5" in page.text
    nothing = Page(render_page(replace(planted_report(""), failed=[])))
    assert "None: every clip was measured, or decided against." in nothing.text


def test_shards_come_in_pages_with_bars_that_words_tell_too(page: Page) -> None:
    bars = [svg for svg in page.of("svg") if svg.get("class") == "bar"]
    assert len(bars) == 60
    assert bars[0]["aria-label"] == "2 kept, 3 rejected, 2 failed, 0 skipped of 7"
    widths = [float(rect["width"]) for rect in page.of("rect") if rect.get("fill") == "url(#fill-rejected)" and "height" in rect]
    assert 42.86 in widths
    assert "page 1 of 2" in page.text
    assert "And 3 more shards, none worse: 21 clips, 6 kept." in page.text


def test_strips_come_in_pages_and_one_without_picture_says_so(page: Page) -> None:
    figures = [figure for figure in page.of("figure") if "data-clip" in figure]
    assert len(figures) == STRIPS_A_PAGE + 2
    opened = [details for details in page.of("details") if "open" in details]
    assert len(page.of("details")) == 1 + 2 + 2 + 1, "failed, shards, kept, rejected"
    assert len(opened) == 4
    assert "(no picture: the file is gone or torn)" in page.text


def test_there_is_a_choice_of_what_occurs(page: Page) -> None:
    assert [select["name"] for select in page.of("select")] == ["source", "reason", "person"]
    values = [option.get("value") for option in page.of("option")]
    assert values == [None, EVIL, "a film", None, "no_face", "unreadable", None, EVIL, "person 0", "person 1"]
