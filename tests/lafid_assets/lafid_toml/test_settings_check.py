"""All of `lafid.toml` held against the assets, and what a run is told."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from lafid_assets.lafid_toml.settings_check import (
    check,
    deciding,
    deciding_sha256,
    differing,
    engine_of,
    in_full,
    named_otherwise,
    ops_of,
    refuse_unusable,
    template,
)
from lafid_assets.lafid_toml.settings_file import SettingsFile, SettingsUnusable


@pytest.fixture
def file(tmp_path: Path) -> SettingsFile:
    (tmp_path / "lafid.toml").write_text(
        '[engine]\nengine = "dlib"\n[pose_filtered_clips]\npose_variation_min_deg = 60.0\n[face_info.limits]\nworkers = 2\n'
    )
    return SettingsFile.of(tmp_path)


def _of(folder: Path, text: str) -> SettingsFile:
    (folder / "lafid.toml").write_text(text)
    return SettingsFile.of(folder)


def test_the_template_changes_nothing_and_every_line_of_it_can_be_taken_in(tmp_path: Path) -> None:
    check(_of(tmp_path, template()))
    assert not any(SettingsFile.of(tmp_path).told.values())
    lines = [
        line.removeprefix("# ") for line in template().splitlines() if re.fullmatch(r"(# \w+ = .*|\[\w+\].*|version.*)", line)
    ]
    file = _of(tmp_path, "\n".join(line for line in lines if not line.endswith("(nothing)")))
    check(file)
    changed, standing = in_full(ops_of(file, {})), in_full({})
    assert changed == standing, "every asset's"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[faces]\nx = 1", r"has a section \[faces\]: choose of .*face_info"),
        ("[face_info]\nrate = 1", r"\[face_info\]: rate"),
        ("[pose_filtered_clips]\nface_frame_share_min = 7.0", r"\[pose_filtered_clips\]: face_frame_share_min.*less than or"),
        ("[pose_filtered_clips]\npolicy = 'coffee'", r"\[pose_filtered_clips\]: there is no policy 'coffee'"),
        ("[automation]\nrefresh_cron = 'at two'", r"\[automation\]: refresh_cron: 'at two' is no cron expression"),
        ("[checks]\noverdue_hours = { faces = 9.0 }", r"\[checks\]: overdue_hours names faces, which is no asset"),
        ("[reference_crops]\nspread = 'everything'", r"\[reference_crops\]: spread: .*not spread over 'everything'"),
    ],
)
def test_a_line_that_fits_no_asset_is_named(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(SettingsUnusable, match=complaint):
        check(_of(tmp_path, text))


def test_what_a_run_names_counts_and_is_told_to_differ(file: SettingsFile) -> None:
    named = {"face_info": {"config": {"engine": "insightface", "limits": {"error_budget": 0.5}}}}
    told = ops_of(file, named)
    assert told["face_info"]["config"] == {"engine": "insightface", "limits": {"workers": 2, "error_budget": 0.5}}
    assert told["speech_info"]["config"] == {"engine": "dlib"}
    assert engine_of(told).engine == "insightface"
    assert 'face_info.engine is "insightface" in this run, "dlib" in lafid.toml' in named_otherwise(file, named)
    assert named_otherwise(file, {"face_info": {"config": {"engine": "dlib"}}}) == []
    assert named_otherwise(file, {"face_info": {"config": {"limits": {"error_budget": 0.05}}}}) == [], "workers stay 2"


def test_a_value_is_told_in_the_type_of_its_line(tmp_path: Path) -> None:
    """Of a command's run Dagster checks it by that type."""
    file = _of(tmp_path, '[pose_filtered_clips]\nsharpness_min = "7"\n[face_info.limits]\nworkers = "2"\n')
    told = ops_of(file, {})
    assert told["pose_filtered_clips"]["config"]["sharpness_min"] == 7.0
    assert told["face_info"] == {"config": {"limits": {"workers": 2}}}


def test_a_value_that_a_run_names_is_refused_with_its_asset(file: SettingsFile) -> None:
    with pytest.raises(SettingsUnusable, match="the config of pose_filtered_clips: sharpness_min"):
        ops_of(file, {"pose_filtered_clips": {"config": {"sharpness_min": "twenty"}}})


LLM = {"base_url": "http://127.0.0.1:9/v1", "model": "m", "api_key_env": "LAFID_TEST_KEY"}


@pytest.mark.parametrize(
    ("asset", "lines", "complaint"),
    [
        ("face_info", {"engine": "foo"}, "no face engine 'foo'"),
        ("face_info", {"head_pose": "foo"}, "foo"),
        ("speech_info", {"whisper": "foo"}, "foo"),
        ("speech_info", {"transcripts": "/nowhere.csv"}, "/nowhere.csv"),
        ("speech_tagged_clips", {"caption_llm": LLM}, "needs a key: set LAFID_TEST_KEY"),
        ("speech_tagged_clips", {"caption_frames_model": LLM}, "needs a key: set LAFID_TEST_KEY"),
        ("reference_crops", {"mask": "foo"}, "foo"),
        ("training_latents", {"preset": "foo"}, "no preset is named 'foo'"),
        ("fusion_dit", {"preset": "foo"}, "no preset is named 'foo'"),
        ("fusion_dit", {"publish": "foo"}, "publish"),
        ("fusion_dit", {"drawing": {"precision": "foo"}}, "precision"),
        ("model_evaluation", {"drawing": {"foo": 1}}, "foo"),
        ("registered_model", {"drawing": {"foo": 1}}, "foo"),
    ],
)
def test_what_a_later_step_cannot_use_is_refused_at_once(asset: str, lines: dict[str, Any], complaint: str) -> None:
    told = {asset: {"config": lines}}
    with pytest.raises((ValueError, OSError, LookupError), match=complaint):
        refuse_unusable(told, [asset])
    refuse_unusable(told, ["raw_clips"])


def test_the_hash_is_of_what_decides_tables(file: SettingsFile, tmp_path: Path) -> None:
    standing = deciding_sha256(ops_of(file, {}))
    assert standing != deciding_sha256({}), "another engine and threshold"
    costs = {"face_info": {"config": {"limits": {"workers": 7}}}, "speech_info": {"config": {"transcripts": "/elsewhere.csv"}}}
    assert deciding_sha256(ops_of(file, costs)) == standing, "what it costs and where it lies decides nothing"
    assert deciding_sha256({"face_info": {"config": {"rate_hz": 4.0}}}) == deciding_sha256({}), "a default that is said"


def test_what_is_said_otherwise_than_before_is_a_line_each(file: SettingsFile) -> None:
    lines = differing(json.dumps(deciding({})), deciding(ops_of(file, {})))
    assert "pose_filtered_clips.pose_variation_min_deg: 45.0 -> 60.0" in lines
    assert 'face_info.engine: "auto" -> "dlib"' in lines
    assert differing(json.dumps(deciding({})), deciding({})) == []
