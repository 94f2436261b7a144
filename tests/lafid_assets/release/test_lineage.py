"""From a registered version back to its clips."""

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lafid_assets.release import lineage
from lafid_assets.release.lineage import git_commit, lineage_tags
from lafid_assets.schemas import FUSION_DIT


def test_tags_lead_back(row_of: Callable[..., dict[str, Any]]) -> None:
    checkpoint = row_of(
        FUSION_DIT,
        checkpoint_sha256="abc",
        dataset_version="v1",
        preset="tiny",
        published="best_ema",
        base_path="bases/tiny",
        mlflow_run_id="m-1",
    )
    tags = lineage_tags(checkpoint, ["weights: non-commercial", "CC-BY"], "run-1")
    assert tags.pop("lafid.git_commit") == git_commit()
    assert tags == {
        "lafid.checkpoint_sha256": "abc",
        "lafid.dataset_version": "v1",
        "lafid.preset": "tiny",
        "lafid.published": "best_ema",
        "lafid.base": "bases/tiny",
        "lafid.training_run": "m-1",
        "lafid.licences": "CC-BY, weights: non-commercial",
        "dagster.run_id": "run-1",
    }


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
