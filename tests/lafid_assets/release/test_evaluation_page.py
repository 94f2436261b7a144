"""The page: whole in itself, nothing runs in it, the worst first, and what it cannot hold it links."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from lafid_assets.release import evaluation_page
from lafid_assets.release.evaluation import evaluate
from lafid_assets.release.evaluation_page import Evaluated, render_page, write_page
from lafid_assets.release.evaluation_tasks import Subject

pytestmark = pytest.mark.usefixtures("quick_curves")
EVIL = '"><script>alert(1)</script><img src=http://evil.example/x onerror=alert(1)>'


@pytest.fixture
def evaluated(drawer: Any, bench_of: Callable[..., Any], evaluation_subject: Subject) -> Evaluated:
    """Two models on three cases, of which the second shows nobody that a model could draw."""
    bench = bench_of([EVIL, "unusable"], persons=3)
    tables = [
        evaluate(replace(evaluation_subject, checkpoint_sha256=name), bench, bench.cases, {}, 9) for name in ("ours", "theirs")
    ]
    assert evaluation_subject.bench_dir is not None
    return Evaluated(
        evaluation_subject.root,
        bench,
        evaluation_subject.bench_dir,
        {f"our {EVIL}": "ours", "theirs": "theirs"},
        {name: pl.concat([each[name] for each in tables]) for name in tables[0]},
        [f"A note. {EVIL}"],
    )


def test_the_page_runs_nothing_and_asks_nobody(evaluated: Evaluated, tmp_path: Path) -> None:
    page = render_page(evaluated, tmp_path)
    assert "<script" not in page
    assert not re.search(r"<[^>]*\son\w+\s*=", page), "no handler in any tag"
    addresses = re.findall(r"""(?:src|href)="([^"]*)\"""", page)
    assert addresses
    assert {address.partition(":")[0] for address in addresses} == {"data"}
    assert "default-src &#x27;none&#x27;" in page or "default-src 'none'" in page
    assert "&lt;script&gt;alert(1)" in page, "the caption is there to read"


def test_videos_side_by_side_the_worst_first(evaluated: Evaluated, tmp_path: Path) -> None:
    page = render_page(evaluated, tmp_path)
    assert page.count('src="data:video/mp4;base64,') == 4, "two cases of two models"
    headings = re.findall(r"<h3>(clip-\d-0)", page)
    assert headings[0] == "clip-1-0", "the one that could not be drawn"
    assert "rejected: its first frame cannot condition a video: no face found" in page
    assert page.count("<figure>") == 3 * 3, "the given frame and both models of each"
    assert "cannot be told (2 persons)" in page
    assert "no drawn frame falls into it" in page
    assert "pose_binned_similarity" in page


def test_what_is_too_much_for_the_page_is_linked(evaluated: Evaluated, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluation_page, "MOST_BYTES", 0)
    monkeypatch.setattr(evaluation_page, "MOST_SHOWN", 2)
    page = evaluated.root / "evaluations" / "pages" / "page.html"
    write_page(page, evaluated)
    text = page.read_text()
    [ours, _] = re.findall(r'<a href="([^"]*)"', text)
    assert (page.parent / ours).resolve().is_file()
    assert "<h2>All others</h2>" in text


def test_one_model_alone_has_no_comparison(evaluated: Evaluated, tmp_path: Path) -> None:
    page = render_page(replace(evaluated, models={"ours": "ours"}), tmp_path)
    assert "Against" not in page
    assert page.count('src="data:video/mp4;base64,') == 2


def test_what_was_not_measured_stands_below_what_was_a_line_a_reason(evaluated: Evaluated, tmp_path: Path) -> None:
    page = render_page(evaluated, tmp_path)
    measured, absent = page[page.index("All measures") :].split("Not measured")
    assert page.index("Cases, the worst first") < page.index("All measures")
    assert "faces_found_share" in measured
    assert "in the model store" not in measured
    lines = [line for line in absent.split("<tr>") if "<td>theirs</td>" in line]
    reasons = [re.findall("<td>(.*?)</td>", line)[1] for line in lines]
    assert reasons
    assert len(set(reasons)) == len(reasons)
