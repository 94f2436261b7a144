"""What a training run says about where it comes from, while it trains: in MLflow, before there is a checkpoint to register.

Belongs here: facts -> tags. Not here: the tags of a registered version (`release.lineage`), writing them (`resources.trainer`).
"""

from lafid_assets.release.lineage import COMMIT_TAG, git_commit, policies_of
from lafid_assets.schemas import DATASET_VERSIONS
from model.presets import Preset
from resources.lake.lake import Lake
from resources.tracking import DATASET_TAG


def origin_tags(chosen: Preset, dataset_version: str, lake: Lake, run_id: str) -> dict[str, str]:
    """Dataset version, policies that decided it, code, run, preset and seed; the base's own are added by the trainer.

    Args:
        run_id: Dagster's run.
    """
    return {
        DATASET_TAG: dataset_version,
        "lafid.policy": ", ".join(_policies(dataset_version, lake)) or "none recorded",
        COMMIT_TAG: git_commit(),
        "lafid.preset": chosen.name,
        "lafid.seed": str(chosen.train.seed),
        "dagster.run_id": run_id,
    }


def _policies(dataset_version: str, lake: Lake) -> list[str]:
    """Names of the policies that decided which clips are in the version, sorted."""
    sql = f"SELECT decided_by FROM {DATASET_VERSIONS.name} WHERE dataset_version = ?"
    return policies_of(lake.sql(sql, [dataset_version])["decided_by"])
