"""`lafid curate DIR`: a folder of clips becomes a dataset and a report."""

from pathlib import Path

from resources.home_lock import at_work
from resources.shard_store import ShardStore

from lafid_assets.cli.display import CONSOLE, show_funnel
from lafid_assets.cli.funnel import read_funnel
from lafid_assets.cli.materialize import CurationChoices, Materializer, open_materializer
from lafid_assets.speech.speech_tagged_clips import captions_at_stake
from resources.face_engine import engine_reason, face_engine_info
from resources.settings import Settings


def run_curate(
    settings: Settings, folder: Path, choices: CurationChoices, clips_per_shard: int, only: Path | None = None
) -> None:
    """Ingest, curate, show the funnel and where the report lies.

    Raises:
        SourceUnusable: there is nothing to ingest.
        RunFailed: a shard failed; the others are done.
    """
    materializer = open_materializer(settings)
    curate_folder(materializer, folder, choices, clips_per_shard, only)
    counts = read_funnel(settings)
    show_funnel(counts)
    CONSOLE.print(
        f"report: {settings.store_uri}/reports/{counts['dataset_version'] or 'empty'}/report.html", soft_wrap=True, markup=False
    )


def curate_folder(
    materializer: Materializer,
    folder: Path,
    choices: CurationChoices,
    clips_per_shard: int,
    only: Path | None = None,
) -> None:
    """The part that `lafid demo` shares."""
    info = face_engine_info(choices.engine)
    reason = engine_reason(choices.engine)
    CONSOLE.print(f"face engine: {info.name} ({reason}); licence: {info.licence}", soft_wrap=True, markup=False)
    with at_work(materializer.settings.home):
        shards = materializer.ingest(folder, clips_per_shard, only)
        at_stake = captions_at_stake(ShardStore(materializer.settings.store_uri), shards) if choices.caption_llm is None else ""
        if at_stake:
            CONSOLE.print(f"note: {at_stake} (--caption-llm)", soft_wrap=True, markup=False)
        materializer.curate(shards, choices)
