"""The steps with their configs: for whoever asks whether something is current, and starts no run for it.

Belongs here: steps under what they are told, and whether the dataset is current. Not here: what that means (`staleness`), what
runs together (`jobs`).
"""

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel

from lafid_assets.dataset import dataset_report
from lafid_assets.jobs import DATASET
from lafid_assets.schemas import DATASET_REPORT
from lafid_assets.steps.staleness import is_current
from lafid_assets.steps.step import Step
from lafid_assets.steps.step_registry import all_steps
from resources.lake.duckdb_extensions import quoted
from resources.lake.lake import Lake
from resources.lake.tables import PARTITIONS
from resources.settings import Settings


def configured(assets: Iterable[str], ops: Mapping[str, Any]) -> list[tuple[Step, BaseModel]]:
    """Steps with what their assets are told, in the order of `assets`.

    Args:
        ops: as Dagster's run config has them; what is not named has its default.
    """
    known = [all_steps()[name] for name in assets]
    return [(step, config(**ops.get(step.asset, {}).get("config", {}))) for step, config in known]


def dataset_is_current(lake: Lake, told: Mapping[str, Any]) -> bool:
    """Whether the refresh would change nothing in the store: the tables, and the report's page.

    Args:
        told: what `lafid.toml` tells the assets, as Dagster's run config.
    """
    with lake.snapshot() as reader:
        if not all(is_current(reader, step, config) for step, config in configured(DATASET, told)):
            return False
        versions = reader.sql(f"SELECT DISTINCT dataset_version FROM {DATASET_REPORT.name}")["dataset_version"]
    page = dataset_report.report_path(versions[0] if len(versions) else dataset_report.EMPTY_VERSION, dataset_report.PAGE)
    return lake.store.exists(page)


def copy_is_current(lake: Lake, settings: Settings) -> bool:
    """Whether this home's copy of the decisions is as new as the dataset."""
    written = f"SELECT epoch(max(written_at)) FROM {PARTITIONS} WHERE table_name = {quoted(DATASET_REPORT.name)}"
    with lake.snapshot() as reader:
        written_at = reader.sql(written).item()
    published = settings.published_path
    return written_at is not None and published.is_file() and published.stat().st_mtime >= float(written_at)
