"""`dataset_report`: what a person looks at - funnel, poses, contact sheet.

Belongs here: the asset. Not here: counting (`funnel`), drawing (`figures`, `contact_sheet`), the page (`report_page`).
"""

import logging
from collections.abc import Callable, Mapping
from typing import Any

import dagster as dg
import polars as pl

from lafid_assets import schemas
from lafid_assets.dataset import report_data
from lafid_assets.dataset.contact_sheet import (
    Strip,
    draw_contact_sheet,
    draw_strips,
    encoded,
    kept_strips,
    rejected_strips,
    thumbnail_jpeg,
)
from lafid_assets.dataset.figures import (
    expression_png,
    funnel_png,
    identities_png,
    pose_png,
    references_png,
    similarity_png,
    speech_png,
)
from lafid_assets.dataset.funnel import as_object
from lafid_assets.dataset.published import NotPublished, publish
from lafid_assets.dataset.report_outcomes import count_shards, decided_by, failed_clips, said_of
from lafid_assets.dataset.report_page import Change, Report, render_page
from lafid_assets.dataset.version_diff import diff_versions, summarize
from lafid_assets.dataset.versions import Facts, standing_version, version_before
from lafid_assets.ingest.locate import locate
from lafid_assets.outcomes import Reason
from lafid_assets.pages import jpeg_address, png_address
from lafid_assets.schemas.products import OUTCOME_COUNT
from lafid_assets.steps.step import Step
from lafid_assets.steps.step_run import Frames, Work
from model.encoding.footage import Footage
from resources.lake import catalog_copy
from resources.lake.lake import Lake
from resources.lake.reader import Reader, TableMissing
from resources.settings import Settings
from resources.store.file_store import FileStore

LOGGER = logging.getLogger("lafid.dataset")
EMPTY_VERSION = "empty"
MOST_METADATA_CHARACTERS = 200_000
"""All pictures of one materialization together; the contact sheet gets what the charts leave."""
LEAST_SHEET_BYTES = 20_000
FOLDER = "reports"
OUTCOME_COUNTS = {field.name: field.dtype for field in OUTCOME_COUNT.fields}
DATASET_COLUMNS = ("clip_id", "identity_id", "split", "window_start_s", "dataset_version")
CHARTS = {
    "funnel.png": "How the clips ended",
    "pose.png": "Head pose of the largest face",
    "expression.png": "What mouth, eyes and brows of the largest face do, shares of its height",
    "references.png": "What each further reference of a clip adds: median and quartiles",
    "identities.png": "How often persons appear",
    "similarity.png": "How alike one person's faces are, by how far apart their poses are",
    "speech.png": "Who speaks in the kept clips, and by which evidence",
}
PAGE = "report.html"
SHEET = "contact_sheet.png"
FILES = (PAGE, SHEET, *CHARTS)

STEP = Step(
    writes=(schemas.DATASET_REPORT,),
    reads=(
        *schemas.OUTCOME_TABLES.values(),
        schemas.PIECES.name,
        schemas.CLIP_FILES.name,
        schemas.CLIP_ROWS.name,
        schemas.CLIP_CONTENTS.name,
        schemas.FACE_INFO.name,
        schemas.SIMILARITY_BY_POSE_GAP.name,
        schemas.REFERENCE_CROPS.name,
        schemas.LAFID_DATASET.name,
    ),
    group="dataset",
    code_version="7",
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
    work = Work(
        lambda _: {schemas.DATASET_REPORT.name: _write_report(lake, store)},
        settled=lambda _, frames: _all_there(store, _version(frames[schemas.DATASET_REPORT.name])),
        metadata=lambda _, frames: _describe(store, frames),
    )
    result = STEP.materialize(context, config, lake, work)
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
        dataset = reader.read(schemas.LAFID_DATASET.name, columns=DATASET_COLUMNS)
        facts = standing_version(reader)
        if facts is None:
            raise TableMissing("there is no version of the dataset: materialize the asset lafid_dataset first")
        counts = pl.DataFrame(facts["funnel"], schema=OUTCOME_COUNTS)
        change = _change(reader, facts)
        failed, shards = failed_clips(reader, facts), count_shards(reader, facts)
        to_draw: tuple[tuple[Callable[[Any], bytes], Any], ...] = (
            (funnel_png, counts),
            (pose_png, report_data.pose_histogram(reader)),
            (expression_png, report_data.expression_histogram(reader)),
            (references_png, report_data.reference_gaps(reader)),
            (identities_png, dataset["identity_id"]),
            (similarity_png, report_data.similarity_curves(reader)),
            (speech_png, report_data.speech_by_evidence(reader)),
        )
        rejected = report_data.rejected_to_show(reader)
        strips = kept_strips(report_data.kept_to_show(reader)) + rejected_strips(rejected, said_of(reader, rejected["clip_id"]))
        policies, engines = report_data.face_policies(reader), report_data.face_engines(reader)
        shots = report_data.shots_of_recordings(reader)
        decided = decided_by(policies, engines, report_data.kept_sources(reader), report_data.unjudged_rules(reader))
    drawn = [draw(counted) for draw, counted in to_draw]
    pictures = draw_strips(strips, _places(lake, strips))
    version = _version(dataset)
    for name, png in zip((*CHARTS, SHEET), (*drawn, draw_contact_sheet(strips, pictures)), strict=True):
        store.write_bytes(report_path(version, name), png)
    report = Report(
        made_at=facts["made_at"],
        funnel=as_object(counts, version),
        change=change,
        splits=_splits(dataset),
        failed=failed,
        shards=shards,
        decided_by=decided,
        charts=dict(zip(CHARTS.values(), drawn, strict=True)),
        strips=strips,
        pictures={clip: encoded(picture, "JPEG", quality=80) for clip, picture in pictures.items()},
        notes=_notes(dataset, shots),
    )
    store.write_bytes(report_path(version, PAGE), render_page(report).encode())
    return counts.with_columns(dataset_version=pl.lit(version))


def _change(reader: Reader, facts: Facts) -> Change | None:
    before = version_before(reader, facts)
    if before is None:
        return None
    rows = diff_versions(reader, before, facts)
    return Change.of(summarize(before, facts, rows), rows)


def _places(lake: Lake, strips: list[Strip]) -> dict[str, Footage]:
    shown: dict[str, list[str]] = {}
    for strip in strips:
        shown.setdefault(strip.shard, []).append(strip.clip_id)
    return {clip: footage for shard, clips in shown.items() for clip, footage in locate(lake, shard, clips).items()}


def _version(rows: pl.DataFrame) -> str:
    return rows["dataset_version"][0] if rows.height else EMPTY_VERSION


def _splits(dataset: pl.DataFrame) -> list[tuple[str, int, int]]:
    return dataset.group_by("split").agg(pl.len(), pl.col("identity_id").n_unique()).sort("split").rows()


def _notes(dataset: pl.DataFrame, shots: Mapping[str, int]) -> list[str]:
    notes = []
    if shots["recordings"]:
        notes.append(
            f"Files with cuts (skipped: {Reason.SPLIT}): {shots['recordings']}. Their {shots['shots']} shots came in as clips; "
            f"{shots['kept']} are kept and {shots['too_short']} were too short to be looked at."
            + (f" {shots['broken']} parts cannot be decoded (error: {Reason.DECODE_FAILED})." if shots["broken"] else "")
        )
    if windows := dataset["window_start_s"].count():
        notes.append(
            f"{windows} of {dataset.height} kept clips are longer than a window: the seconds count in which the head turns most."
        )
    missing = [split for split in ("validation", "test") if split not in set(dataset["split"])]
    if missing:
        persons = dataset["identity_id"].n_unique()
        notes.append(f"There is no {' and no '.join(missing)} split: {persons} persons are too few to keep them apart.")
    return notes


def _describe(store: FileStore, frames: Frames) -> dict[str, Any]:
    counts = frames[schemas.DATASET_REPORT.name]
    version = _version(counts)
    charts = {name: png_address(store.read_bytes(report_path(version, name))) for name in CHARTS}
    left = MOST_METADATA_CHARACTERS - sum(map(len, charts.values()))
    sheet = thumbnail_jpeg(store.read_bytes(report_path(version, SHEET)), max(left * 3 // 4, LEAST_SHEET_BYTES))
    funnel = as_object(counts, version)
    return {
        "report": dg.MetadataValue.path(store.full_path(report_path(version, PAGE))),
        **{name.removesuffix(".png"): dg.MetadataValue.md(f"![{CHARTS[name]}]({address})") for name, address in charts.items()},
        "contact_sheet": dg.MetadataValue.md(f"![contact sheet]({jpeg_address(sheet)})"),
        "clips_in": funnel["in"],
        "clips_kept": funnel["kept"],
        "dataset_version": version,
    }
