"""The steps with their configs: for whoever asks whether something is current, and starts no run for it.

Belongs here: which config belongs to which step, and whether the dataset is current. Not here: what that means (`staleness`),
what runs together (`jobs`).
"""

from collections.abc import Iterable, Mapping
from typing import Any

import dagster as dg

from lafid_assets.constraints import pose_filtered_clips
from lafid_assets.dataset import dataset_report, lafid_dataset, reference_crops
from lafid_assets.duplicates import duplicate_clips
from lafid_assets.faces import face_info
from lafid_assets.identity import id_consistent_clips, identity_clusters
from lafid_assets.ingest import raw_clips
from lafid_assets.jobs import DATASET
from lafid_assets.schemas import DATASET_REPORT
from lafid_assets.speech import speech_info, speech_tagged_clips
from lafid_assets.staleness import is_current
from lafid_assets.step import Step
from resources.duckdb_extensions import quoted
from resources.lake import Lake
from resources.lake_tables import PARTITIONS
from resources.settings import Settings

_STEPS: tuple[tuple[Step, type[dg.Config]], ...] = (
    (raw_clips.STEP, raw_clips.RawClipsConfig),
    (face_info.STEP, face_info.FaceInfoConfig),
    (pose_filtered_clips.STEP, pose_filtered_clips.PoseFilteredClipsConfig),
    (id_consistent_clips.STEP, id_consistent_clips.IdConsistentClipsConfig),
    (speech_info.STEP, speech_info.SpeechInfoConfig),
    (speech_tagged_clips.STEP, speech_tagged_clips.SpeechTaggedClipsConfig),
    (reference_crops.STEP, reference_crops.ReferenceCropsConfig),
    (identity_clusters.STEP, identity_clusters.IdentityClustersConfig),
    (duplicate_clips.STEP, duplicate_clips.DuplicateClipsConfig),
    (lafid_dataset.STEP, lafid_dataset.LafidDatasetConfig),
    (dataset_report.STEP, dataset_report.DatasetReportConfig),
)


def configured(assets: Iterable[str], ops: Mapping[str, Any]) -> list[tuple[Step, dg.Config]]:
    """Steps with what their assets are told, in the order of `assets`.

    Args:
        ops: as Dagster's run config has them; what is not named has its default.
    """
    known = {step.asset: (step, config) for step, config in _STEPS}
    return [(known[name][0], known[name][1](**ops.get(name, {}).get("config", {}))) for name in assets]


def dataset_is_current(lake: Lake, settings: Settings) -> bool:
    """Whether the refresh would change nothing: the tables, the report's page, and this home's copy of the decisions."""
    with lake.snapshot() as reader:
        if not all(is_current(reader, step, config) for step, config in configured(DATASET, {})):
            return False
        versions = reader.sql(f"SELECT DISTINCT dataset_version FROM {DATASET_REPORT.name}")["dataset_version"]
        written = f"SELECT epoch(max(written_at)) FROM {PARTITIONS} WHERE table_name = {quoted(DATASET_REPORT.name)}"
        written_at = float(reader.sql(written).item())
    page = dataset_report.report_path(versions[0] if len(versions) else dataset_report.EMPTY_VERSION, dataset_report.PAGE)
    published = settings.published_path
    return lake.store.exists(page) and published.is_file() and published.stat().st_mtime >= written_at
