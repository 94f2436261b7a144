"""The checks that warn, through Dagster, on a real lake."""

import json
from collections.abc import Callable
from typing import Any

import dagster as dg
import pytest

from lafid_assets.checks.dataset_checks import CHECKS
from lafid_assets.definitions import build_defs
from lafid_assets.lafid_toml.settings_check import deciding, ops_of
from lafid_assets.lafid_toml.settings_file import SettingsFile
from resources.lake.lake import Lake
from resources.settings import Settings
from tests.lafid_assets.checks.versions import keep_version

RowOf = Callable[..., dict[str, Any]]
NAMES = {"keep_rate_drift", "pose_coverage", "expression_coverage", "error_share", "freshness", "settings_differ"}


def _evaluate(settings: Settings, lake: Lake, *names: str) -> dict[str, dg.AssetCheckEvaluation]:
    """Each check's evaluation, in a run of checks alone."""
    chosen = [check for check in CHECKS if next(iter(check.check_keys)).name in (names or NAMES)]
    job = dg.Definitions(
        asset_checks=chosen,
        jobs=[dg.define_asset_job("look", dg.AssetSelection.checks(*chosen))],
        resources={"lake": lake, "settings": settings},
    ).resolve_job_def("look")
    result = job.execute_in_process()
    assert result.success, "a check that warns fails no run"
    return {evaluation.check_name: evaluation for evaluation in result.get_asset_check_evaluations()}


def _told(settings: Settings) -> str:
    return json.dumps(deciding(ops_of(SettingsFile.of(settings.home), {})), sort_keys=True)


def test_checks_of_a_home_without_dataset_have_nothing_to_judge(settings: Settings, lake: Lake) -> None:
    found = _evaluate(settings, lake)
    assert set(found) == NAMES
    for evaluation in found.values():
        assert evaluation.passed
        assert evaluation.metadata["said"].value == "nothing to judge: no dataset has been made yet"


def test_figures_are_numbers_that_plot_and_severity_warns(settings: Settings, lake: Lake, row_of: RowOf) -> None:
    """Three in four clips failed: somebody should look, and nothing stops."""
    counted = [("kept", "", "", 1), ("error", "face_clips", "crashed", 3)]
    funnel = [dict(zip(("status", "step", "reason", "clips"), row, strict=True)) for row in counted]
    keep_version(lake, row_of, "one", funnel=funnel, clips_in=4, settings=_told(settings))
    found = _evaluate(settings, lake)
    assert {evaluation.severity for evaluation in found.values()} == {dg.AssetCheckSeverity.WARN}
    assert {name for name, evaluation in found.items() if not evaluation.passed} == {"error_share", "settings_differ"}
    errors = found["error_share"]
    assert errors.metadata["error_rate_face_info"] == dg.FloatMetadataValue(0.75)
    assert errors.metadata["clips_failed"] == dg.IntMetadataValue(3)
    assert errors.description == errors.metadata["said"].value
    assert found["keep_rate_drift"].metadata["keep_rate"] == dg.FloatMetadataValue(0.25)
    assert not {name for name in found["pose_coverage"].metadata if name != "said"}, "no pose was measured: no figure"


def test_a_line_of_the_file_that_the_dataset_was_not_made_by(settings: Settings, lake: Lake, row_of: RowOf) -> None:
    keep_version(lake, row_of, "one", settings=_told(settings))
    [before] = _evaluate(settings, lake, "settings_differ").values()
    assert before.metadata["lines_that_differ"].value == 0
    (settings.home / "lafid.toml").write_text("[pose_filtered_clips]\npose_variation_min_deg = 90.0\n")
    [found] = _evaluate(settings, lake, "settings_differ").values()
    assert not found.passed
    assert found.metadata["lines_that_differ"].value == 2  # the policy's name changes with it
    assert "pose_variation_min_deg: " in str(found.metadata["said"].value)


def test_bounds_are_those_of_the_file(settings: Settings, lake: Lake, row_of: RowOf) -> None:
    funnel = [{"status": "error", "step": "raw_clips", "reason": "crashed", "clips": 1}]
    keep_version(lake, row_of, "one", funnel=funnel)
    (settings.home / "lafid.toml").write_text("[checks]\nmost_error_share = 1.0\n")
    assert _evaluate(settings, lake, "error_share")["error_share"].passed


@pytest.mark.parametrize("text", ["[checks]\nmost_error_share = 2.0\n", "[pose_filtered_clips]\npolicy = 'coffee'\n"])
def test_a_file_that_cannot_be_used_is_worth_a_look(settings: Settings, lake: Lake, row_of: RowOf, text: str) -> None:
    keep_version(lake, row_of, "one")
    (settings.home / "lafid.toml").write_text(text)
    [found] = _evaluate(settings, lake, "settings_differ").values()
    assert not found.passed
    assert "lafid.toml" in str(found.metadata["said"].value)


def test_an_engine_that_is_not_there_is_worth_a_look(settings: Settings, lake: Lake, row_of: RowOf) -> None:
    """No step of a refresh asks for it, so that nothing has refused the file before."""
    keep_version(lake, row_of, "one")
    (settings.home / "lafid.toml").write_text('[engine]\nengine = "insightface"\n')
    [found] = _evaluate(settings, lake, "freshness").values()
    assert not found.passed
    assert "lafid models add" in str(found.metadata["said"].value)


def test_a_refresh_runs_them_and_a_shard_does_not(settings: Settings) -> None:
    definitions = build_defs(settings)
    refresh, shard, alone = (
        {node.name for node in definitions.resolve_job_def(job).nodes}
        for job in ("refresh_dataset", "curate_shard", "judge_dataset")
    )
    ops = {f"lafid_dataset_{name}" for name in NAMES}
    assert ops <= refresh
    assert ops == alone
    assert not ops & shard
