"""From a registered version back to its clips."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lafid_assets.release import lineage
from lafid_assets.release.licences import Licensed
from lafid_assets.release.lineage import LONGEST_DESCRIPTION, LONGEST_TAG, description, git_commit, judgement_tags, lineage_tags
from lafid_assets.schemas import DATASET_VERSIONS, FUSION_DIT, JUDGEMENTS, MODEL_EVALUATION

BASE = {"name": "wan", "repository": "Wan-AI/Wan2.1", "revision": "c0ffee", "sha256": "9" * 64}
PARTS = [Licensed("clips OpenHumanVid", "CC-BY-NC-ND-4.0"), Licensed("base wan", "Apache-2.0")]


@pytest.fixture
def tags(row_of: Callable[..., dict[str, Any]]) -> dict[str, str]:
    checkpoint = row_of(
        FUSION_DIT, checkpoint_sha256="abc", dataset_version="v1", preset="tiny", published="best_ema", mlflow_run_id="m-1"
    )
    funnel = [
        {"status": "kept", "step": "", "reason": "", "clips": 3},
        {"status": "rejected", "step": "pose_filtered_clips", "reason": "no_face", "clips": 2},
    ]
    decided = json.dumps(
        {"pose_filtered_clips": {"policy": ["cofe"]}, "speech_tagged_clips": {"policy": ["loud"], "engine": ["x"]}}
    )
    dataset = row_of(DATASET_VERSIONS, clips=3, clips_in=5, identities=2, funnel=funnel, decided_by=decided)
    return lineage_tags(checkpoint, BASE, dataset, PARTS, "c1", "run-1")


def test_tags_lead_back(tags: dict[str, str]) -> None:
    assert tags == {
        "lafid.checkpoint_sha256": "abc",
        "lafid.dataset_version": "v1",
        "lafid.preset": "tiny",
        "lafid.published": "best_ema",
        "lafid.base": "wan",
        "lafid.base_repository": "Wan-AI/Wan2.1",
        "lafid.base_revision": "c0ffee",
        "lafid.base_sha256": "9" * 64,
        "lafid.training_run": "m-1",
        "lafid.licences": "clips OpenHumanVid: CC-BY-NC-ND-4.0; base wan: Apache-2.0",
        "lafid.git_commit": "c1",
        "lafid.policy": "cofe, loud",
        "lafid.clips": "3 of 5, 2 persons",
        "lafid.funnel": "kept 3, rejected no_face at pose_filtered_clips 2",
        "dagster.run_id": "run-1",
    }


def test_a_base_of_our_own_and_an_unknown_dataset_are_said(row_of: Callable[..., dict[str, Any]]) -> None:
    base = {"name": "tiny", "repository": None, "revision": None, "sha256": "8" * 64}
    tags = lineage_tags(row_of(FUSION_DIT), base, None, [], "c1", "run-1")
    assert (tags["lafid.base_repository"], tags["lafid.base_revision"]) == ("built here, travels along", "none")
    assert not {"lafid.policy", "lafid.funnel"} & set(tags)


@pytest.fixture
def judgement(row_of: Callable[..., dict[str, Any]]) -> dict[str, Any]:
    findings = [
        {"rule": "likeness", "verdict": "refused", "figure": 0.12345, "bound": 0.0, "sentence": "of clip 0123: strangers"},
        {"rule": "weights", "verdict": "passed", "figure": None, "bound": None, "sentence": "whole"},
        {"rule": "first_frame", "verdict": "undecided", "figure": None, "bound": 30.0, "sentence": "clip 4567 lacks it"},
        {"rule": "licences", "verdict": "not judged", "figure": None, "bound": None, "sentence": "nobody asked"},
    ]
    known = {"judgement_id": "j", "verdict": "refused", "findings": findings, "checkpoint_sha256": "abc", "bench_name": "small"}
    return row_of(JUDGEMENTS, **known, bench_version="b" * 8, against_version="1", gate="pretrained", judged_at="2026")


def test_what_was_found_is_told_without_naming_a_clip(
    tags: dict[str, str], judgement: dict[str, Any], row_of: Callable[..., dict[str, Any]]
) -> None:
    measured = [
        row_of(MODEL_EVALUATION, checkpoint_sha256=whose, bench_version=bench, metric=name, value=0.5, low=low, high=0.6)
        for whose, bench, name, low in (
            ("abc", "b" * 8, "pose_binned_similarity", 0.4),
            ("abc", "b" * 8, "fid", None),
            ("abc", "other", "likeness_all", 0.4),
            ("def", "b" * 8, "clip_score", 0.4),
        )
    ]
    found = judgement_tags(judgement, MODEL_EVALUATION.frame(measured))
    assert found == {
        "lafid.gate": "refused: likeness, first_frame",
        "lafid.judgement": "j",
        "lafid.gate_rules": "pretrained",
        "lafid.judged_at": "2026",
        "lafid.judged_against": "version 1",
        "lafid.bench": "small bbbbbbbb",
        "lafid.intervals": "pose_binned_similarity 0.500 (0.400 to 0.600)",
    }
    page = description(tags | found, judgement)
    for said in (
        "**refused: likeness, first_frame** (rules `pretrained`, against version 1)",
        "| likeness | refused | 0.1235 | 0 |",
        "| weights | passed |  |  |",
        "- clips OpenHumanVid: CC-BY-NC-ND-4.0\n- base wan: Apache-2.0",
        "- base: wan (Wan-AI/Wan2.1, revision c0ffee)",
        "- funnel: kept 3, rejected no_face at pose_filtered_clips 2",
        "- runs: MLflow m-1, Dagster run-1",
        "- pose_binned_similarity 0.500 (0.400 to 0.600)",
    ):
        assert said in page
    assert "0123" not in page + str(found)
    assert "4567" not in page + str(found)


def test_what_is_too_long_for_the_registry_is_cut(judgement: dict[str, Any], row_of: Callable[..., dict[str, Any]]) -> None:
    parts = [Licensed(f"clips source {number}", "CC-BY-4.0") for number in range(1000)]
    tags = lineage_tags(row_of(FUSION_DIT), BASE, None, parts, "c1", "run-1")
    assert len(tags["lafid.licences"]) == LONGEST_TAG
    assert tags["lafid.licences"].endswith(" ...")
    page = description(tags | judgement_tags(judgement, MODEL_EVALUATION.frame([])), judgement)
    assert len(page) == LONGEST_DESCRIPTION
    assert page.endswith(" ...")


def test_commit_tells_a_dirty_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lineage, "PROJECT_ROOT", tmp_path)

    def git(*arguments: str) -> str:
        identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
        return subprocess.run(["git", *identity, *arguments], cwd=tmp_path, capture_output=True, text=True, check=True).stdout

    git("init")
    (tmp_path / "a").write_text("1")
    git("add", "a")
    git("commit", "-m", "first")
    head = git("rev-parse", "HEAD").strip()
    assert git_commit() == head
    (tmp_path / "a").write_text("2")
    assert git_commit() == f"{head}+dirty"


def test_outside_a_checkout_the_commit_is_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lineage, "PROJECT_ROOT", tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert git_commit() == "unknown"
    monkeypatch.setenv("PATH", str(tmp_path))
    assert git_commit() == "unknown"
