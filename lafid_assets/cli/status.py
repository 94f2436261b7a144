"""`lafid status`: what an installation holds and does, at one look. Makes nothing, not even a home.

Belongs here: asking lake, Dagster, registry and disk, and showing the answers. Not here: what is current (`staleness`).
"""

import os
import shutil
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from lafid_assets.cli.display import CONSOLE
from lafid_assets.dataset.versions import standing_version
from lafid_assets.jobs import ACTIVE, PER_SHARD
from lafid_assets.lafid_toml.settings_check import ops_of
from lafid_assets.lafid_toml.settings_file import SettingsFile
from lafid_assets.lake import open_lake
from lafid_assets.runs.run_failure import why_failed
from lafid_assets.schemas import CLIP_FILES
from lafid_assets.steps.curation_steps import configured
from lafid_assets.steps.staleness import stale_shards
from resources.lake.lake import Lake
from resources.settings import Settings
from resources.tracking import CHAMPION, Tracking, TrackingUnreachable


def read_status(settings: Settings) -> dict[str, Any]:
    """One object: `home`, `home_is_there`, `store`, `shards`, `dataset`, `runs`, `champion`, `disk`; None where there is nothing
    of the kind.
    """
    file, lake = SettingsFile.of(settings.home), open_lake(settings, read_only=True)
    return {
        "home": str(settings.home),
        "home_is_there": settings.home.is_dir(),
        "store": settings.store_uri,
        **(_of_lake(lake, ops_of(file, {})) if lake.is_there() else {"shards": None, "dataset": None}),
        "runs": _runs(settings),
        "champion": _champion(settings, file.model_name),
        "disk": _disk(settings),
    }


def show_status(status: Mapping[str, Any]) -> None:
    """Show the status in lines."""
    shards, dataset, runs, disk = (status[name] for name in ("shards", "dataset", "runs", "disk"))
    lines = {
        "home": status["home"] + ("" if status["home_is_there"] else ", which is not there yet: see LAFID_HOME"),
        "store": status["store"],
        "shards": "none yet"
        if shards is None
        else f"{shards['all']}, of them current {shards['current']}{_named(shards['stale'])}",
        "runs": "none yet"
        if runs is None
        else f"{runs['active']} active; of the last day {runs['failed_last_day']} failed"
        + (f", the last one: {runs['last_failure']}" if runs["last_failure"] else ""),
        "dataset": "none yet"
        if dataset is None
        else f"{dataset['version']} (number {dataset['number']}): {dataset['clips']} clips of {dataset['identities']} persons, "
        f"made {dataset['made_at']}",
        "champion": status["champion"] or "none yet",
        "disk": f"{disk['free_gb']:.0f} GB free of {disk['all_gb']:.0f}",
    }
    for name, line in lines.items():
        CONSOLE.print(f"{name + ':':10} {line}")


def _named(stale: dict[str, int]) -> str:
    return "".join(f"; {count} to be computed from {asset} on" for asset, count in stale.items())


def _of_lake(lake: Lake, told: Mapping[str, Any]) -> dict[str, Any]:
    with lake.snapshot() as reader:
        shards = [shard for _, shard in reader.stamps([CLIP_FILES.name])]
        stale = Counter(stale_shards(reader, configured(PER_SHARD, told), shards).values())
        last = standing_version(reader)
    dataset = last and {name: last[name] for name in ("number", "clips", "identities", "made_at")} | {
        "version": last["dataset_version"]
    }
    counts = {"all": len(shards), "current": len(shards) - stale.total(), "stale": dict(stale)}
    return {"shards": counts, "dataset": dataset}


def _runs(settings: Settings) -> dict[str, Any] | None:
    if not settings.has_instance:  # Dagster would make one
        return None
    os.environ["DAGSTER_HOME"] = str(settings.dagster_home)
    instance = dg.DagsterInstance.get()
    since = datetime.fromtimestamp(datetime.now(UTC).timestamp() - 86400, UTC)
    failed = dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE], updated_after=since)
    last = instance.get_runs(failed, limit=1)
    return {
        "active": instance.get_runs_count(dg.RunsFilter(statuses=list(ACTIVE))),
        "failed_last_day": instance.get_runs_count(failed),
        "last_failure": why_failed(instance, last[0].run_id) if last else None,
    }


def _champion(settings: Settings, model: str) -> str | None:
    """`models:/lafid/3`, or why it cannot be told."""
    tracking = Tracking(settings.mlflow_uri, settings.mlflow_artifacts)
    if not tracking.is_there:
        return None
    try:
        version = tracking.version_of_alias(model, CHAMPION)
    except TrackingUnreachable as error:
        return f"not known: {error}"
    return None if version is None else f"models:/{model}/{version}"


def _disk(settings: Settings) -> dict[str, float]:
    """The home's disk, or the one that it would be made on."""
    usage = shutil.disk_usage(next(folder for folder in (settings.home, *settings.home.absolute().parents) if folder.exists()))
    return {"free_gb": usage.free / 1e9, "all_gb": usage.total / 1e9}
