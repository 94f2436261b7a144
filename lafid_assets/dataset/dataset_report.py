"""`dataset_report`: what a person looks at - funnel, poses, contact sheet.

Belongs here: the asset. Not here: counting (`funnel`), drawing (`figures`, `contact_sheet`), the page (`report_page`).
"""

import base64
import logging
from collections.abc import Mapping
from typing import Any

import dagster as dg
import polars as pl

from lafid_assets.dataset import report_data
from lafid_assets.dataset.contact_sheet import Strip, choose_strips, draw_contact_sheet, thumbnail_jpeg
from lafid_assets.dataset.figures import (
    expression_png,
    funnel_png,
    identities_png,
    pose_png,
    references_png,
    similarity_png,
    speech_png,
)
from lafid_assets.dataset.funnel import as_object, count_outcomes
from lafid_assets.dataset.published import NotPublished, publish
from lafid_assets.dataset.report_page import png_address, render_page
from lafid_assets.dataset.report_rules import decided_by
from lafid_assets.dataset.versions import known_versions
from lafid_assets.ingest.locate import locate
from lafid_assets.outcomes import Reason
from lafid_assets.schemas import (
    DATASET_REPORT,
    FACE_INFO,
    LAFID_DATASET,
    OUTCOME_TABLES,
    PIECES,
    REFERENCE_CROPS,
    SIMILARITY_BY_POSE_GAP,
)
from lafid_assets.step import Step
from lafid_assets.step_run import Frames
from resources import catalog_copy
from resources.file_store import FileStore
from resources.lake import Lake
from resources.lake_reader import Reader
from resources.settings import Settings

LOGGER = logging.getLogger("lafid.dataset")
EMPTY_VERSION = "empty"
MOST_METADATA_CHARACTERS = 200_000
"""All pictures of one materialization together; the contact sheet gets what the charts leave."""
LEAST_SHEET_BYTES = 20_000
FOLDER = "reports"
DATASET_COLUMNS = ("clip_id", "identity_id", "split", "dataset_version")
PICTURES = {
    "funnel.png": "How the clips ended",
    "pose.png": "Head pose of the largest face",
    "expression.png": "What mouth, eyes and brows of the largest face do, shares of its height",
    "references.png": "What each further reference of a clip adds: median and quartiles",
    "identities.png": "How often persons appear",
    "similarity.png": "How alike one person's faces are, by how far apart their poses are",
    "speech.png": "Who speaks in the kept clips, and by which evidence",
    "contact_sheet.png": "Kept clips by person (black labels), rejected clips by how narrowly they missed (white labels)",
}
PAGE = "report.html"
SHEET = "contact_sheet.png"
FILES = (PAGE, *PICTURES)

STEP = Step(
    writes=(DATASET_REPORT,),
    reads=(
        *OUTCOME_TABLES.values(),
        PIECES.name,
        FACE_INFO.name,
        SIMILARITY_BY_POSE_GAP.name,
        REFERENCE_CROPS.name,
        LAFID_DATASET.name,
    ),
    group="dataset",
    code_version="6",
    kinds=frozenset({"matplotlib"}),
)


class DatasetReportConfig(dg.Config):
    """Nothing can be chosen here."""


@STEP.as_asset(deps=["lafid_dataset"])
def dataset_report(
    context: dg.AssetExecutionContext,
    config: DatasetReportConfig,
    lake: dg.ResourceParam[Lake],
    store: dg.ResourceParam[FileStore],
    settings: dg.ResourceParam[Settings],
) -> dg.MaterializeResult:
    """The funnel: how many clips ended how, and beside it in the store a page with charts and contact sheet.

    Whoever must judge a dataset looks here first, and sends the page, one file, to those who have no Dagster.
    """
    result = STEP.materialize(
        context,
        config,
        lake,
        lambda _: {DATASET_REPORT.name: _write_report(lake, store)},
        settled=lambda _, frames: _all_there(store, _version(frames[DATASET_REPORT.name])),
        metadata=lambda _, frames: _describe(store, frames),
    )
    later = {"published": _publish(lake, settings), "catalog_copy": _copy_catalog(lake)}
    return dg.MaterializeResult(metadata=dict(result.metadata or {}) | later, check_results=result.check_results)


def _publish(lake: Lake, settings: Settings) -> str:
    """The file's path, or why it is still the last one: that costs nobody the dataset."""
    try:
        publish(lake, settings.published_path)
    except NotPublished as error:
        LOGGER.error("%s", error)
        return str(error)
    return str(settings.published_path)


def _copy_catalog(lake: Lake) -> str:
    """Where the catalog's copy lies, or why it is still the last one: that costs nobody the dataset, either."""
    try:
        catalog_copy.copy(lake)
    except OSError as error:
        LOGGER.error("the catalog is not copied: %s", error)
        return str(error)
    return lake.store.full_path(catalog_copy.COPY)


def report_path(version: str, name: str) -> str:
    """Where a file of a version's report lies in the store."""
    return f"{FOLDER}/{version}/{name}"


def _all_there(store: FileStore, version: str) -> bool:
    return set(FILES) <= set(store.list_files(f"{FOLDER}/{version}"))


def _write_report(lake: Lake, store: FileStore) -> pl.DataFrame:
    with lake.snapshot(all_cores=True) as reader:
        dataset = reader.read(LAFID_DATASET.name, columns=DATASET_COLUMNS)
        version = _version(dataset)
        counts = _counts(reader, version)
        poses, curves = report_data.pose_histogram(reader), report_data.similarity_curves(reader)
        evidence = report_data.speech_by_evidence(reader)
        expressions, gaps = report_data.expression_histogram(reader), report_data.reference_gaps(reader)
        strips = choose_strips(report_data.kept_to_show(reader), report_data.rejected_to_show(reader))
        policies, engines = report_data.face_policies(reader), report_data.face_engines(reader)
        shots = report_data.shots_of_recordings(reader)
        decided = decided_by(policies, engines, report_data.kept_sources(reader), report_data.unjudged_rules(reader))
    drawn = (
        funnel_png(counts),
        pose_png(poses),
        expression_png(expressions),
        references_png(gaps),
        identities_png(dataset["identity_id"]),
        similarity_png(curves),
        speech_png(evidence),
        _sheet(lake, strips),
    )
    for name, png in zip(PICTURES, drawn, strict=True):
        store.write_bytes(report_path(version, name), png)
    pictures = dict(zip(PICTURES.values(), drawn, strict=True))
    page = render_page(as_object(counts, version), _splits(dataset), decided, pictures, _notes(dataset, shots))
    store.write_bytes(report_path(version, PAGE), page.encode())
    return counts.with_columns(dataset_version=pl.lit(version))


def _counts(reader: Reader, version: str) -> pl.DataFrame:
    """The funnel that was counted when the version was made; of an empty dataset, which bears no version, it is counted again."""
    known = known_versions(reader).filter(dataset_version=version)
    return known["funnel"].explode().struct.unnest() if known.height else count_outcomes(reader)


def _sheet(lake: Lake, strips: list[Strip]) -> bytes:
    shown: dict[str, list[str]] = {}
    for strip in strips:
        shown.setdefault(strip.shard, []).append(strip.clip_id)
    places = {clip: footage for shard, clips in shown.items() for clip, footage in locate(lake, shard, clips).items()}
    return draw_contact_sheet(strips, places)


def _version(rows: pl.DataFrame) -> str:
    return rows["dataset_version"][0] if rows.height else EMPTY_VERSION


def _splits(dataset: pl.DataFrame) -> dict[str, dict[str, int]]:
    counted = dataset.group_by("split").agg(clips=pl.len(), identities=pl.col("identity_id").n_unique()).sort("split")
    return {row["split"]: {"clips": row["clips"], "identities": row["identities"]} for row in counted.iter_rows(named=True)}


def _notes(dataset: pl.DataFrame, shots: Mapping[str, int]) -> list[str]:
    notes = []
    if shots["recordings"]:
        notes.append(
            f"Files with cuts (skipped: {Reason.SPLIT}): {shots['recordings']}. Their {shots['shots']} shots came in as clips; "
            f"{shots['kept']} are kept and {shots['too_short']} were too short to be looked at."
        )
    missing = [split for split in ("validation", "test") if split not in set(dataset["split"])]
    if missing:
        persons = dataset["identity_id"].n_unique()
        notes.append(f"There is no {' and no '.join(missing)} split: {persons} persons are too few to keep them apart.")
    return notes


def _describe(store: FileStore, frames: Frames) -> dict[str, Any]:
    counts = frames[DATASET_REPORT.name]
    version = _version(counts)
    charts = {name: png_address(store.read_bytes(report_path(version, name))) for name in PICTURES if name != SHEET}
    left = MOST_METADATA_CHARACTERS - sum(map(len, charts.values()))
    sheet = thumbnail_jpeg(store.read_bytes(report_path(version, SHEET)), max(left * 3 // 4, LEAST_SHEET_BYTES))
    funnel = as_object(counts, version)
    return {
        "report": dg.MetadataValue.path(store.full_path(report_path(version, PAGE))),
        **{name.removesuffix(".png"): dg.MetadataValue.md(f"![{PICTURES[name]}]({address})") for name, address in charts.items()},
        "contact_sheet": dg.MetadataValue.md(f"![contact sheet](data:image/jpeg;base64,{base64.b64encode(sheet).decode()})"),
        "clips_in": funnel["in"],
        "clips_kept": funnel["kept"],
        "dataset_version": version,
    }
