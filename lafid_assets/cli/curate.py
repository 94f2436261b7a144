"""`lafid curate DIR`: a folder of clips becomes a dataset and a report.

Belongs here: the order, and taking a folder in. Not here: the runs (`materialize`), registration (`ingest`).
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from lafid_assets.cli.display import CONSOLE, show_funnel, show_missing, working
from lafid_assets.cli.funnel import read_funnel
from lafid_assets.cli.materialize import CurationChoices, Materializer, open_materializer
from lafid_assets.ingest.listing import list_files, restrict_to
from lafid_assets.ingest.registration import register
from lafid_assets.jobs import PER_SHARD
from lafid_assets.lafid_toml.settings_check import engine_of, named_otherwise, ops_of, refuse_unusable
from lafid_assets.speech.speech_tagged_clips import captions_at_stake
from resources.face_engine import engine_reason, face_engine_info
from resources.settings import Settings

MISSING_CLIPS = "missing_clips.csv"


def run_curate(
    settings: Settings, folder: Path | str, choices: CurationChoices, clips_per_shard: int | None, only: Path | None = None
) -> dict[str, Any]:
    """Ingest and curate; one object: the funnel, where the `report` lies, the `shards` that hold clips of the folder, and how
    many partitions of assets were `computed` and `up_to_date`.
    """
    materializer = open_materializer(settings)
    shards = curate_folder(materializer, folder, choices, clips_per_shard, only)
    counts, tally = read_funnel(settings), materializer.tally
    report = f"{settings.store_uri}/reports/{counts['dataset_version'] or 'empty'}/report.html"
    done = {"computed": len(tally.computed), "up_to_date": len(tally.up_to_date)}
    return counts | {"report": report, "shards": shards} | done


def show_curated(found: Mapping[str, Any]) -> None:
    """The funnel, and where the report lies."""
    show_funnel(found)
    CONSOLE.print(f"report: {found['report']}")


def curate_folder(
    materializer: Materializer,
    folder: Path | str,
    choices: CurationChoices,
    clips_per_shard: int | None,
    only: Path | None = None,
) -> list[str]:
    """The part that `lafid demo` shares: the shards that hold clips of `folder`, which it names; others are left alone."""
    file = materializer.file
    told = ops_of(file, choices.ops)
    for line in named_otherwise(file, choices.ops):
        CONSOLE.print(line, style="yellow")
    engine = engine_of(told)
    refuse_unusable(told, PER_SHARD)
    info, reason = face_engine_info(engine), engine_reason(engine)
    CONSOLE.print(f"face engine: {info.name} ({reason}); licence: {info.licence}")
    files = _look_through(folder, only, materializer.settings.home / MISSING_CLIPS)
    lake = materializer.lake
    with lake.leases.at_work("lafid curate"):
        registered = register(lake, files, clips_per_shard or file.general.sources.clips_per_shard)
        CONSOLE.print(f"{folder}: {registered}")
        shards = registered.shards
        asked = told.get("speech_tagged_clips", {}).get("config", {}).get("caption_llm")
        at_stake = "" if asked else captions_at_stake(lake, shards)
        if at_stake:
            CONSOLE.print(f"note: {at_stake} (--caption-llm)")
        materializer.curate(shards, choices)
    return list(shards)


def _look_through(folder: Path | str, only: Path | None, missing_csv: Path) -> pl.DataFrame:
    """The files that are clips; of a list of clips those that it names, and what is missing of it is told."""
    with working(f"looking through {folder}"):
        files = list_files(folder)
    if only is None:
        return files
    files, missing = restrict_to(files, only)
    show_missing(only, files.height, missing, missing_csv)
    return files
