"""`dataset_report`: what a person looks at - funnel, poses, contact sheet.

Belongs here: the asset. Not here: counting (`funnel`), drawing (`figures`, `contact_sheet`), the page (`report_page`).
"""

import base64
from typing import Any

import dagster as dg
import polars as pl

from lafid_assets.constraints.margins import miss_shares
from lafid_assets.constraints.policies import FacePolicy
from lafid_assets.dataset.contact_sheet import choose_strips, draw_contact_sheet, thumbnail_jpeg
from lafid_assets.dataset.figures import funnel_png, identities_png, pose_png, similarity_png, speech_png
from lafid_assets.dataset.funnel import as_object, clip_outcomes, count_outcomes
from lafid_assets.dataset.report_page import png_address, render_page
from lafid_assets.dataset.report_rules import decided_by
from lafid_assets.schemas import (
    DATASET_REPORT,
    FACE_CLIPS,
    FACE_INFO,
    LAFID_DATASET,
    OUTCOME_TABLES,
    POSE_FILTERED_CLIPS,
    RAW_CLIPS,
    SIMILARITY_BY_POSE_GAP,
)
from lafid_assets.step import Frames, Step
from resources.shard_store import ShardStore
from resources.warehouse import Warehouse

EMPTY_VERSION = "empty"
MOST_METADATA_CHARACTERS = 200_000
"""All pictures of one materialization together; the contact sheet gets what the charts leave."""
LEAST_SHEET_BYTES = 20_000
FOLDER = "reports"
POSE_COLUMNS = ("clip_id", "face_index", "yaw_deg", "pitch_deg", "roll_deg")
PICTURES = {
    "funnel.png": "How the clips ended",
    "pose.png": "Head pose of the largest face",
    "identities.png": "How often persons appear",
    "similarity.png": "How alike one person's faces are, by how far apart their poses are",
    "speech.png": "Who speaks in the kept clips",
    "contact_sheet.png": "Kept clips by person (black labels), rejected clips by how narrowly they missed (white labels)",
}
PAGE = "report.html"
SHEET = "contact_sheet.png"
FILES = (PAGE, *PICTURES)

STEP = Step(
    writes=(DATASET_REPORT,),
    reads=(*OUTCOME_TABLES, FACE_INFO.name, SIMILARITY_BY_POSE_GAP.name, LAFID_DATASET.name),
    group="dataset",
    code_version="3",
    kinds=frozenset({"matplotlib"}),
)


class DatasetReportConfig(dg.Config):
    """Nothing can be chosen here."""


@dg.asset(**STEP.arguments(deps=["lafid_dataset"]))
def dataset_report(
    context: dg.AssetExecutionContext,
    config: DatasetReportConfig,
    store: dg.ResourceParam[ShardStore],
    warehouse: dg.ResourceParam[Warehouse],
) -> dg.MaterializeResult:
    """The funnel as a table; beside it in the store a page with funnel, pose histograms and contact sheet."""
    return STEP.materialize(
        context,
        config,
        store,
        warehouse,
        lambda: {DATASET_REPORT.name: _write_report(store)},
        intact=lambda frames: all(store.exists(report_path(_version(frames[DATASET_REPORT.name]), name)) for name in FILES),
        metadata=lambda frames: _describe(store, frames),
    )


def report_path(version: str, name: str) -> str:
    """Where a file of a version's report lies in the store."""
    return f"{FOLDER}/{version}/{name}"


def _write_report(store: ShardStore) -> pl.DataFrame:
    tables = {name: store.read_all(name) for name in OUTCOME_TABLES}
    dataset = store.read_table(LAFID_DATASET.name)
    version = _version(dataset)
    outcomes = clip_outcomes(tables)
    counts = count_outcomes(outcomes, version)
    drawn = (
        funnel_png(counts),
        pose_png(store.read_all(FACE_INFO.name, POSE_COLUMNS), dataset["clip_id"]),
        identities_png(dataset["identity_id"]),
        similarity_png(store.read_all(SIMILARITY_BY_POSE_GAP.name)),
        speech_png(dataset["speaking_status"]),
        draw_contact_sheet(choose_strips(outcomes, tables[RAW_CLIPS.name], dataset, _misses(tables[POSE_FILTERED_CLIPS.name]))),
    )
    for name, png in zip(PICTURES, drawn, strict=True):
        store.write_bytes(report_path(version, name), png)
    pictures = dict(zip(PICTURES.values(), drawn, strict=True))
    decided = decided_by(tables[POSE_FILTERED_CLIPS.name], tables[FACE_CLIPS.name], dataset)
    page = render_page(as_object(counts), _splits(dataset), decided, pictures, _notes(dataset))
    store.write_bytes(report_path(version, PAGE), page.encode())
    return counts


def _misses(decided: pl.DataFrame) -> pl.DataFrame:
    """How narrowly clips were rejected; shards may have been decided by different policies."""
    return pl.concat(
        miss_shares(rows, FacePolicy.model_validate_json(str(settings)))
        for (settings,), rows in decided.group_by("policy_settings", maintain_order=True)
    )


def _version(rows: pl.DataFrame) -> str:
    return rows["dataset_version"][0] if rows.height else EMPTY_VERSION


def _splits(dataset: pl.DataFrame) -> dict[str, dict[str, int]]:
    counted = dataset.group_by("split").agg(clips=pl.len(), identities=pl.col("identity_id").n_unique()).sort("split")
    return {row["split"]: {"clips": row["clips"], "identities": row["identities"]} for row in counted.iter_rows(named=True)}


def _notes(dataset: pl.DataFrame) -> list[str]:
    missing = [split for split in ("validation", "test") if split not in set(dataset["split"])]
    if not missing:
        return []
    persons = dataset["identity_id"].n_unique()
    return [f"There is no {' and no '.join(missing)} split: {persons} persons are too few to keep them apart."]


def _describe(store: ShardStore, frames: Frames) -> dict[str, Any]:
    counts = frames[DATASET_REPORT.name]
    version = _version(counts)
    charts = {name: png_address(store.read_bytes(report_path(version, name))) for name in PICTURES if name != SHEET}
    left = MOST_METADATA_CHARACTERS - sum(map(len, charts.values()))
    sheet = thumbnail_jpeg(store.read_bytes(report_path(version, SHEET)), max(left * 3 // 4, LEAST_SHEET_BYTES))
    funnel = as_object(counts)
    return {
        "report": dg.MetadataValue.path(store.full_path(report_path(version, PAGE))),
        **{name.removesuffix(".png"): dg.MetadataValue.md(f"![{PICTURES[name]}]({address})") for name, address in charts.items()},
        "contact_sheet": dg.MetadataValue.md(f"![contact sheet](data:image/jpeg;base64,{base64.b64encode(sheet).decode()})"),
        "clips_in": funnel["in"],
        "clips_kept": funnel["kept"],
        "dataset_version": version,
    }
