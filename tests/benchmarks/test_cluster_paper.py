"""The reckoning of a large curation, and that the documentation shows what it gives."""

import json
import sys
from dataclasses import replace

import pytest

from benchmarks.cluster_paper import Measured, Plan, in_markdown, main, reckon
from resources.settings import PROJECT_ROOT


def test_the_page_has_the_table_that_it_prints() -> None:
    assert in_markdown(reckon(Plan(), Measured()), Plan()) in (PROJECT_ROOT / "docs" / "cluster.md").read_text()


def test_a_runs_start_is_under_a_hundredth_of_its_work() -> None:
    assert reckon(Plan(), Measured())["start_share"] < 0.01


def test_what_grows_with_the_clips_grows_so_and_nodes_do_by_the_time_given() -> None:
    once, twice = reckon(Plan(), Measured()), reckon(replace(Plan(), clips=2 * Plan().clips), Measured())
    for name in ("shards", "runs", "core_days", "s3_requests", "commits", "events"):
        assert twice[name] == pytest.approx(2 * once[name], rel=0.001), name
    half = reckon(replace(Plan(), days=Plan().days / 4), Measured())
    assert 3 * once["nodes"] < half["nodes"] <= 4 * once["nodes"]
    assert half["hours"] <= Plan().days / 4 * 24


def test_every_figure_is_an_option(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["paper", "--json", "--clips", "1000", "--faces-cpu-s", "2", "--kept", "0"])
    assert main() == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["clips"], found["shards"], found["measured"]["faces_cpu_s"]) == (1000, 2, 2.0)
    assert found["cpu_s_a_clip"] == 2 + Measured().other_cpu_s
