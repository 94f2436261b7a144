"""What a registered version says about where it comes from.

Belongs here: facts -> MLflow tags. Not here: writing them (`model.release.package`).
"""

import subprocess
from typing import Any

from resources.settings import PROJECT_ROOT
from resources.tracking import CHECKPOINT_TAG


def lineage_tags(checkpoint: dict[str, Any], licences: list[str], run_id: str) -> dict[str, str]:
    """Tags that lead from the model back to its clips: dataset version, base, code, runs, and the licences it stands on.

    Args:
        checkpoint: a row of `fusion_dit`.
        licences: licences of the clips and of the engines that measured them.
        run_id: Dagster's run.
    """
    return {
        CHECKPOINT_TAG: checkpoint["checkpoint_sha256"],
        "lafid.dataset_version": checkpoint["dataset_version"],
        "lafid.preset": checkpoint["preset"],
        "lafid.published": checkpoint["published"],
        "lafid.base": checkpoint["base_path"],
        "lafid.training_run": checkpoint["mlflow_run_id"],
        "lafid.licences": ", ".join(sorted(licences)),
        "lafid.git_commit": git_commit(),
        "dagster.run_id": run_id,
    }


def git_commit() -> str:
    """The checkout's commit, `+dirty` when files differ from it; `unknown` outside a checkout."""

    def git(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(["git", *arguments], cwd=PROJECT_ROOT, capture_output=True, text=True, check=False)

    try:
        head = git("rev-parse", "HEAD")
    except FileNotFoundError:
        return "unknown"
    if head.returncode:
        return "unknown"
    return head.stdout.strip() + ("+dirty" if git("status", "--porcelain").stdout.strip() else "")
